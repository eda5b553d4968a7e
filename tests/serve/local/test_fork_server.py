"""Ray's workers: forked by the server, or started as Ray would start them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from serve.local import forked_worker
from serve.local.forked_worker import ADDRESS_VARIABLE
from tests.limits import HANG_S

_SERVER = """
import os, socket, sys
from serve.local.fork_server import next_worker

def refuse_grey(request):
    if request.environment["COLOUR"] == "grey":
        raise ValueError

request = next_worker(socket.socket(fileno=int(sys.argv[1])), refuse_grey)
if request is None:
    print("the server ends", flush=True)
else:
    request.adopt()
    print(*sys.argv[1:], os.environ["COLOUR"], os.getpgid(0) == os.getpid(), flush=True)
    print("an error", file=sys.stderr, flush=True)
"""


_IDS = """
import os
from serve.local.fork_server import RayImports
RayImports("a folder")._import()
from ray import WorkerID

for _ in range(2):
    if os.fork() == 0:
        print(WorkerID.from_random().hex(), flush=True)
        os._exit(0)
    os.wait()
"""


@pytest.fixture
def address(tmp_path: Path) -> str:
    return str(tmp_path / "socket")


@contextmanager
def forking(address: str) -> Iterator[subprocess.Popen[str]]:
    """Run a server that imports nothing for its workers, which only print what they have."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        process = subprocess.Popen(
            [sys.executable, "-c", _SERVER, str(listener.fileno())],
            pass_fds=[listener.fileno()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
    with process:
        yield process


def start_worker(
    address: str, *arguments: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Start a worker as Ray does."""
    return subprocess.run(
        [sys.executable, forked_worker.__file__, *arguments],
        env=os.environ | {ADDRESS_VARIABLE: address} | variables,
        capture_output=True,
        text=True,
        timeout=HANG_S,
        check=True,
    )


def test_a_forked_worker_has_the_arguments_environment_and_streams_of_its_start(
    address: str,
) -> None:
    with forking(address):
        first = start_worker(address, "--id=1", COLOUR="red")
        second = start_worker(address, "--id=2", COLOUR="x" * 100_000)
    assert first.stdout == "--id=1 red True\n"
    assert first.stderr == "an error\n"
    assert second.stdout == f"--id=2 {'x' * 100_000} True\n"


def test_the_server_outlives_a_start_that_breaks_off(address: str) -> None:
    with forking(address):
        with socket.socket(socket.AF_UNIX) as broken:
            broken.connect(address)
            broken.sendall(b"{")
        assert start_worker(address, COLOUR="red").stdout == "red True\n"


def test_the_server_ends_with_the_process_that_started_it(address: str) -> None:
    with forking(address) as server:
        output, _ = server.communicate(timeout=HANG_S)  # closes its input
    assert output == "the server ends\n"


def test_a_worker_that_the_server_refuses_is_rays_own(address: str) -> None:
    with forking(address):
        refused = start_worker(address, "--help", COLOUR="grey")
        assert "the address to use for GCS" in refused.stdout
        assert start_worker(address, COLOUR="red").stdout == "red True\n"


def test_without_a_server_the_worker_is_rays_own(address: str) -> None:
    assert "the address to use for GCS" in start_worker(address, "--help").stdout


def test_forks_draw_ids_of_their_own() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _IDS], capture_output=True, text=True, timeout=HANG_S, check=True
    )
    first, second = done.stdout.split()
    assert first != second
