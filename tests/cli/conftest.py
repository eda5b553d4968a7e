"""A scripted server on the loopback interface, and the command line pointed at it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn

from tests.cli.cascade import Cascade
from tests.cli.scripted_server import ScriptedService, build_app

_LIMIT_S = 20.0


@pytest.fixture
def service() -> Iterator[ScriptedService]:
    """A running server."""
    script = ScriptedService()
    config = uvicorn.Config(build_app(script), host="127.0.0.1", port=0, log_level="error")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline_s = time.monotonic() + _LIMIT_S
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        assert time.monotonic() < deadline_s
        thread.join(0.01)
    script.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    yield script
    script.cancelled.set()
    server.should_exit = True
    thread.join(_LIMIT_S)


@pytest.fixture
def cascade(service: ScriptedService) -> Cascade:
    """The command line, pointed at the scripted server."""
    return Cascade(service.url)
