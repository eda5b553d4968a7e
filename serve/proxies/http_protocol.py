"""The HTTP/1.1 protocol of every server that clients reach: Ray's proxies and gateway replicas.

uvicorn uses httptools if it is installed. That parser stops at a request with ``Upgrade``: its
body is lost, or read as the next request of the connection. h11 reads such a request like any
other, and RFC 9110, 7.8, lets a server ignore ``Upgrade``.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import h11
from starlette.responses import JSONResponse
from ulid import ULID
from uvicorn.config import HTTP_PROTOCOLS
from uvicorn.protocols.http.h11_impl import H11Protocol

from serve.responses.errors import error_body
from serve.responses.headers import DEFAULT_HEADERS
from serve.responses.request_id import REQUEST_ID_HEADER
from serve.telemetry.log import log_context

MAX_HEAD_BYTES = 64 * 1024
"""Maximum of a request's line and headers; uvicorn's own limit."""
_CAN_ANSWER = (h11.IDLE, h11.SEND_RESPONSE)


class _Connection(h11.Connection):
    """Refuses bytes that two servers could read as different requests (request smuggling)."""

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        """Return the next event, as h11 does."""
        before = self.trailing_data[0] if self.their_state is h11.IDLE else b""
        event = super().next_event()
        if isinstance(event, h11.Request):
            head = before[: len(before) - len(self.trailing_data[0])]
            if head.count(b"\n") != head.count(b"\r\n"):
                raise h11.RemoteProtocolError("a line that ends without CR")
            if {b"content-length", b"transfer-encoding"} <= {name for name, _ in event.headers}:
                raise h11.RemoteProtocolError("Content-Length and Transfer-Encoding")
        return event


class HTTPProtocol(H11Protocol):
    """HTTP/1.1 without upgrades; bytes that are no HTTP get 400 in the form of all errors."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.conn = _Connection(h11.SERVER, MAX_HEAD_BYTES)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Send an answer's body without waiting until its headers are acknowledged (Nagle).

        asyncio does this only if the listener names its protocol, which Ray's does not.
        """
        super().connection_made(transport)
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _should_upgrade(self) -> bool:
        """Answer every request as plain HTTP; the service has no websockets."""
        return False

    def send_400_response(self, msg: str) -> None:
        """Answer bytes that are no HTTP request, and close the connection."""
        if self.conn.our_state in _CAN_ANSWER:
            self.transport.write(self._bad_request())
        if self.cycle is not None and not self.cycle.response_complete:
            # The request whose body broke off has its answer now.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.close()

    def _bad_request(self) -> bytes:
        request_id = str(ULID())
        with log_context(request_id=request_id):
            body = error_body(400, "invalid_value", "this is not a valid HTTP/1.1 request")
        more = {REQUEST_ID_HEADER: request_id, "connection": "close"}
        response = JSONResponse(body, 400, {**DEFAULT_HEADERS, **more})
        start = h11.Response(status_code=400, headers=response.raw_headers, reason="Bad Request")
        parts = (start, h11.Data(data=bytes(response.body)), h11.EndOfMessage())
        return b"".join(self.conn.send(part) or b"" for part in parts)


def make_default() -> None:
    """Make this the protocol of all servers that uvicorn starts in this process from now on.

    Ray Serve starts uvicorn with the protocol ``auto`` and has no option for another.
    """
    HTTP_PROTOCOLS["auto"] = f"{__name__}:{HTTPProtocol.__name__}"
