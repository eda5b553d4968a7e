"""Ray's workers: forked by the server, or started as Ray would start them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cascade_core.checkpoints.checkpoint import ModelSource
from serve.local.fork_server import ForkServer, _import_stages
from serve.local.forked_worker import ADDRESS_VARIABLE, FORKED
from tests.limits import HANG_S

ROOT = Path(__file__).parents[3]
_SERVER = """
import os, socket, sys
from serve.local.fork_server import RayImports, next_worker

class NoImports(RayImports):
    def _import(self):
        pass

if next_worker(socket.socket(fileno=int(sys.argv[1])), NoImports("").prepare):
    print(*sys.argv[1:], os.environ["COLOUR"], os.getpgid(0) == os.getpid(), flush=True)
    print(*sorted(os.listdir("/proc/self/fd")), file=sys.stderr, flush=True)
else:
    print("the server ends", flush=True)
"""
_LAUNCHER = """
import sys
from serve.local import forked_worker

forked_worker.LIMIT_S = float(sys.argv.pop(1))
forked_worker.main()
"""
_TORCH_THAT_WAS_ASKED_FOR_DEVICES = """
import sys
from types import SimpleNamespace
sys.modules["torch"] = SimpleNamespace(cuda=SimpleNamespace(_is_in_bad_fork=lambda: True))
"""
_FORBID_QUESTIONS_FOR_DEVICES = """
import sys

if "serve.local.fork_server" in sys.orig_argv:
    import torch

    def count():
        raise AssertionError("an import asks for the number of devices")

    torch.cuda._is_compiled = lambda: True
    torch._C._cuda_getDeviceCount = count
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
    assert os.wait()[1] == 0, "a fork died"
"""
_RAYS_OWN = "the address to use for GCS"
"""Help of Ray's own worker."""


@pytest.fixture
def address(tmp_path: Path) -> str:
    return str(tmp_path / "socket")


@contextmanager
def forking(address: str, first: str = "") -> Iterator[subprocess.Popen[str]]:
    """Run a server that imports nothing for its workers, which only print what they have."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        process = subprocess.Popen(
            [sys.executable, "-c", first + _SERVER, str(listener.fileno())],
            pass_fds=[listener.fileno()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
    with process:
        yield process


def launching(
    address: str, *arguments: str, limit_s: float = HANG_S, **variables: str
) -> subprocess.Popen[str]:
    """Start a worker as Ray does."""
    return subprocess.Popen(
        [sys.executable, "-c", _LAUNCHER, str(limit_s), *arguments],
        env=os.environ | {ADDRESS_VARIABLE: address, "RAY_RAYLET_PID": "1"} | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def start_worker(address: str, *arguments: str, **variables: str) -> tuple[str, str]:
    """Start a worker; returns its output and errors when it has ended."""
    with launching(address, *arguments, **variables) as launcher:
        output, errors = launcher.communicate(timeout=HANG_S)
    assert launcher.returncode == 0, errors
    return output, errors


def answer(address: str, request: bytes) -> bytes:
    """Send a request with the standard streams; returns the answer, empty without a worker."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(HANG_S)
        connection.connect(address)
        socket.send_fds(connection, [request], [0, 1, 2])
        connection.shutdown(socket.SHUT_WR)
        return connection.recv(100)


def test_a_forked_worker_has_the_arguments_environment_and_streams_of_its_start(
    address: str,
) -> None:
    with forking(address):
        output, errors = start_worker(address, "--id=1", COLOUR="red")
        long, _ = start_worker(address, "--id=2", COLOUR="x" * 100_000)
    assert output == "--id=1 red True\n"
    assert errors.startswith("0 1 2 ")
    assert long == f"--id=2 {'x' * 100_000} True\n"


@pytest.mark.parametrize(
    "request_",
    [
        b"{",
        b"[]",
        b'{"arguments": [], "environment": {}}',
        b'{"arguments": [], "environment": {"RAY_RAYLET_PID": "1"}, "other": 1}',
    ],
)
def test_the_server_outlives_a_request_that_it_cannot_read_and_keeps_nothing_of_it(
    address: str, request_: bytes
) -> None:
    with forking(address):
        before = start_worker(address, COLOUR="red")
        assert answer(address, request_) == b""
        assert start_worker(address, COLOUR="red") == before


def test_a_worker_that_cannot_have_what_ray_gives_it_does_not_answer(address: str) -> None:
    environment = {"RAY_RAYLET_PID": "1", "": "no variable can have this name"}
    request = {"arguments": [], "environment": environment}
    with forking(address):
        assert answer(address, json.dumps(request).encode()) == b""
        assert start_worker(address, COLOUR="red")[0] == "red True\n"


def test_a_worker_runs_whose_order_of_being_ended_cannot_be_set(address: str) -> None:
    refused = {"RAY_worker_oom_score_adjustment": "1001"}
    with forking(address):
        assert start_worker(address, COLOUR="red", **refused)[0] == "red True\n"


def test_a_worker_does_not_answer_if_the_server_has_spoilt_cuda_for_it(address: str) -> None:
    with forking(address, first=_TORCH_THAT_WAS_ASKED_FOR_DEVICES):
        output, _ = start_worker(address, "--help", COLOUR="red")
    assert _RAYS_OWN in output


def test_the_servers_imports_ask_for_no_gpu_and_take_nothing_from_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "fastapi.py").write_text("raise ImportError('from the current folder')")
    always_imported = tmp_path / "path" / "sitecustomize.py"
    always_imported.parent.mkdir()
    always_imported.write_text(_FORBID_QUESTIONS_FOR_DEVICES)
    monkeypatch.setenv("PYTHONPATH", f"{always_imported.parent}:{ROOT}")
    monkeypatch.chdir(tmp_path)
    server = ForkServer(tmp_path / "ray")
    try:
        environment = dict(os.environ) | {"RAY_RAYLET_PID": str(os.getpid())}
        request = {"arguments": ["--help"], "environment": environment}
        assert answer(os.environ[ADDRESS_VARIABLE], json.dumps(request).encode()) == FORKED
    finally:
        server.close()


def test_workers_do_not_wait_for_a_model_that_is_still_to_be_fetched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[bool] = []

    def download(*_: object, local_files_only: bool, **__: object) -> str:
        asked.append(local_files_only)
        raise OSError("nothing is cached")

    monkeypatch.setattr("cascade_core.checkpoints.hub.snapshot_download", download)
    _import_stages(ModelSource("me/model", revision="a" * 40))
    assert asked
    assert all(asked)


def test_the_server_ends_with_the_process_that_started_it(address: str) -> None:
    with forking(address) as server:
        output, _ = server.communicate(timeout=HANG_S)  # closes its input
    assert output == "the server ends\n"


def test_the_socket_goes_with_the_server_of_a_killed_process(tmp_path: Path) -> None:
    killed = "from serve.local.fork_server import *; ForkServer(Path(sys.argv[1])); os._exit(1)"
    with subprocess.Popen(
        [sys.executable, "-c", killed, str(tmp_path / "ray")], stdout=subprocess.PIPE
    ) as process:
        process.communicate(timeout=HANG_S)  # until the server has ended, too
    assert list(tmp_path.iterdir()) == []


def test_a_worker_of_a_server_that_hangs_is_rays_own_and_starts_once(address: str) -> None:
    with forking(address) as server:
        start_worker(address, COLOUR="red")
        server.send_signal(signal.SIGSTOP)
        try:
            worker = launching(address, "--help", limit_s=0.1, COLOUR="red")
            worker.wait(timeout=HANG_S)
        finally:
            server.send_signal(signal.SIGCONT)
        output, _ = worker.communicate(timeout=HANG_S)  # also of a fork, until it ends
        assert _RAYS_OWN in output
        assert "red True" not in output
        assert start_worker(address, COLOUR="red")[0] == "red True\n"


def test_the_first_worker_of_a_node_that_ray_has_started_again_is_rays_own(address: str) -> None:
    with forking(address):
        before = start_worker(address, COLOUR="red", RAY_RAYLET_PID="1")
        output, _ = start_worker(address, "--help", COLOUR="red", RAY_RAYLET_PID="2")
        assert _RAYS_OWN in output
        assert start_worker(address, COLOUR="red", RAY_RAYLET_PID="2") == before
    assert before[0] == "red True\n"


def test_without_a_server_the_worker_is_rays_own(address: str) -> None:
    assert _RAYS_OWN in start_worker(address, "--help")[0]


def test_forks_draw_ids_of_their_own() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _IDS], capture_output=True, text=True, timeout=HANG_S, check=True
    )
    first, second = done.stdout.split()
    assert first != second
