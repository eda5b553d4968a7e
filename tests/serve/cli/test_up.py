"""Stopping ``cascade up``: in a process of its own, since it takes over the signals."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cascade_core.errors import NotReady
from serve.local.data_folder import in_use
from serve.settings import Settings
from serve.studio.files import studio_files
from tests.limits import HANG_S
from tests.ray.client import free_port
from tests.serve.cli.cascade import Cascade

_PROGRAM = """
import sys, threading
from serve.cli.up import serve_until_stopped

class Running:
    url = "http://127.0.0.1:8765"
    metrics_url = "http://127.0.0.1:9999/metrics"
    def drain_and_stop(self):
        if "--hang" in sys.argv:
            print("draining hangs", flush=True)
            threading.Event().wait()
        return int(sys.argv[1]) if sys.argv[1:2] and sys.argv[1].isdigit() else 2

serve_until_stopped(Running, drain_s=5, needs_key="--needs-key" in sys.argv)
"""


def _process(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-u", "-c", _PROGRAM, *arguments],
        env=os.environ | {"PYTHONPATH": str(Path.cwd())},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _read_until(lines: Iterator[str], wanted: str) -> str:
    return next(line for line in lines if wanted in line)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_drains_and_says_how_many_jobs_are_left(number: signal.Signals) -> None:
    with _process() as process:
        assert process.stdout is not None
        assert "http://127.0.0.1:8765/docs" in _read_until(process.stdout, "ready")
        assert "http://127.0.0.1:9999/metrics" in _read_until(process.stdout, "metrics")
        assert "--url http://127.0.0.1:8765" in _read_until(process.stdout, "cascade generate")
        _read_until(process.stdout, "Ctrl-C stops")
        process.send_signal(number)
        rest, _ = process.communicate(timeout=HANG_S)
    assert process.returncode == 0
    assert "up to 5 s" in rest
    assert "2 jobs go on at the next start" in rest


@pytest.mark.parametrize(
    ("left", "told"), [("0", "stopped\n"), ("1", "stopped; 1 job goes on at the next start\n")]
)
def test_no_job_or_one_that_is_left_is_not_called_jobs(left: str, told: str) -> None:
    with _process(left) as process:
        assert process.stdout is not None
        _read_until(process.stdout, "Ctrl-C stops")
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=HANG_S)
    assert rest.endswith(told)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "http://127.0.0.1:8765/"),
        (("--needs-key",), "http://127.0.0.1:8765/  (an API key signs in)"),
    ],
)
def test_what_is_printed_ends_with_the_link_to_the_page(
    arguments: tuple[str, ...], told: str
) -> None:
    with _process(*arguments) as process:
        assert process.stdout is not None
        _read_until(process.stdout, "Ctrl-C stops")
        last = _read_until(process.stdout, "Studio")
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=HANG_S)
    assert last == f"Studio: {studio_files().problem or told}\n"
    assert rest.startswith("draining")


def test_the_second_signal_stops_at_once() -> None:
    with _process("--hang") as process:
        assert process.stdout is not None
        _read_until(process.stdout, "Ctrl-C stops")
        process.send_signal(signal.SIGTERM)
        _read_until(process.stdout, "draining hangs")
        process.send_signal(signal.SIGTERM)
        rest, _ = process.communicate(timeout=HANG_S)
    assert process.returncode == 128 + signal.SIGTERM
    assert "stopping at once" in rest


@pytest.mark.parametrize("command", [("up",), ("keys", "list"), ("migrate",)])
def test_a_file_that_is_no_database_is_refused_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: tuple[str, ...]
) -> None:
    monkeypatch.setenv("CASCADE_DATA_DIR", str(tmp_path))
    file = tmp_path / "cascade.db"
    file.write_bytes(bytes(range(256)) * 40)
    result = Cascade("http://127.0.0.1:1")(*command)
    assert result.exit_code == 1
    assert f"{file}: file is not a database" in result.stderr
    assert "Traceback" not in result.output
    assert result.stdout == ""


def test_a_data_folder_that_cannot_be_made_is_named_before_anything_is_started(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("CASCADE_DATA_DIR", str(tmp_path / "file" / "data"))
    result = Cascade("http://127.0.0.1:1")("up")
    assert result.exit_code == 1
    assert "CASCADE_DATA_DIR" in result.stderr
    assert result.stdout == ""


def test_a_data_folder_that_another_service_uses_is_refused_until_that_one_ends(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    started: list[Settings] = []

    def start(settings: Settings, *_: object, **__: object) -> None:
        started.append(settings)
        raise NotReady("no Ray in this test")

    environment.setattr("serve.local.cluster.start", start)
    (tmp_path / "data").mkdir()
    with in_use(tmp_path / "data"):
        refused = Cascade("")("up", "--port", str(free_port()))
    assert (refused.exit_code, started) == (2, [])
    assert f"another cascade up uses the data folder {tmp_path / 'data'}" in refused.stderr
    assert "CASCADE_DATA_DIR" in refused.stderr
    Cascade("")("up", "--port", str(free_port()))
    assert len(started) == 1


def test_a_taken_port_is_named_before_anything_is_started(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CASCADE_DATA_DIR", str(tmp_path))
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        result = Cascade("http://127.0.0.1:1")("up", "--port", port)
    assert result.exit_code == 1
    assert f"127.0.0.1:{port}" in result.stderr
    assert "CASCADE_HTTP_PORT" in result.stderr
    assert result.stdout == ""


def test_up_refuses_at_once_where_rays_token_is_turned_off(
    cascade: Cascade, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("RAY_AUTH_MODE", "disabled")
    before = os.umask(0o022)
    result = cascade("up")
    os.umask(before)
    assert result.exit_code == 2
    assert "unset it" in result.stderr
    assert result.stdout == ""
