"""Servers on the loopback interface, and the command line pointed at them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest
import uvicorn
from fastapi import FastAPI

from serve.cli import checks
from tests.limits import HANG_S
from tests.serve.cli.cascade import Cascade
from tests.serve.cli.scripted_server import ScriptedService, build_app


@pytest.fixture(scope="session", autouse=True)
def ray_is_imported_once() -> Iterator[None]:
    """Let the doctor try once whether Ray can be imported: the process that tries takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checks, "check_ray", cache(checks.check_ray))
        yield


@pytest.fixture
def service() -> Iterator[ScriptedService]:
    """A running server with scripted jobs."""
    script = ScriptedService()
    with _serving(build_app(script)) as url:
        script.url = url
        yield script
        script.cancelled.set()


@pytest.fixture
def cascade(service: ScriptedService) -> Cascade:
    """The command line, pointed at the scripted server."""
    return Cascade(service.url)


@pytest.fixture
def cascade_at_gateway(gateway_app: FastAPI) -> Iterator[Cascade]:
    """The command line, pointed at the gateway that the test module defines."""
    with _serving(gateway_app) as url:
        yield Cascade(url)


@contextmanager
def _serving(app: FastAPI) -> Iterator[str]:
    """Serve an application from a thread; yields its address."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline_s = time.monotonic() + HANG_S
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        assert time.monotonic() < deadline_s
        thread.join(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(HANG_S)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """A data folder and a port of the test's own."""
    monkeypatch.setenv("CASCADE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("CASCADE_HTTP_PORT", "0")
    return monkeypatch
