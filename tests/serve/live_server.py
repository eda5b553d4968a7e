"""The application on a real port, for clients that are not of this process."""

from __future__ import annotations

import asyncio
import socket
import threading

import uvicorn
from starlette.types import ASGIApp

from serve.proxies.http_protocol import HTTPProtocol


class Server:
    """The application in a thread, on a real port."""

    def __init__(self, app: ASGIApp, host: str = "127.0.0.1") -> None:
        self._listener = socket.create_server((host, 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        config = uvicorn.Config(app, http=HTTPProtocol, log_level="critical")
        self._server = uvicorn.Server(config)
        serve = self._server.serve(sockets=[self._listener])
        self._thread = threading.Thread(target=asyncio.run, args=(serve,))

    def __enter__(self) -> Server:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._listener.close()
