"""HTTP by hand, over a socket: what no client library would send."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from typing import Any

from tests.limits import HANG_S

UPGRADES = {
    "h2c": "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQ\r\n",
    "tls": "Connection: upgrade\r\nUpgrade: TLS/1.2\r\n",
    "websocket": "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
}
"""What asks for another protocol, by its name."""
MULTIPART = "multipart/form-data; boundary=B"
UPLOAD = (
    '--B\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n'
    "Content-Type: image/png\r\n\r\nno picture\r\n--B--\r\n"
)
BODIES = [
    ("POST", "/v1/jobs", "application/json", '{"prompt": "x", "surprise": 1}', "surprise"),
    ("POST", "/v1/images/generations", "application/json", '{"prompt": 1}', "prompt must"),
    ("POST", "/v1/images/variations", MULTIPART, UPLOAD, "PNG"),
    ("POST", "/v1/images/X/share", "application/json", '{"surprise": 1}', "surprise"),
    ("PATCH", "/v1/jobs/X", "application/json", '{"client_state": {}, "surprise": 1}', "surprise"),
    ("PUT", "/v1/preferences/x", "application/json", '{"value": {}, "surprise": 1}', "surprise"),
]
"""Method, path, type and body of requests that are refused, with a word of the refusal that only
fits if the body arrived whole."""


@dataclass(frozen=True)
class Answer:
    """One answer: its status, its headers in lower case, its body."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def values(self, name: str) -> list[str]:
        """Every value of a header."""
        return [value for found, value in self.headers if found == name]

    @property
    def error(self) -> dict[str, Any]:
        """The error in the form of the service."""
        error: dict[str, Any] = json.loads(self.body)["error"]
        return error


class Connection:
    """A connection to the service on this machine."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), HANG_S)
        self._file = self._socket.makefile("rb")

    def send(self, text: str | bytes) -> None:
        """Send bytes as they are."""
        self._socket.sendall(text.encode() if isinstance(text, str) else text)

    def answer(self) -> Answer:
        """Read one answer; a connection that ends before is an AssertionError."""
        line = self._file.readline()
        assert line.startswith(b"HTTP/1.1 "), line
        headers = []
        while (header := self._file.readline().strip()) != b"":
            name, _, value = header.decode().partition(":")
            headers.append((name.lower(), value.strip()))
        answer = Answer(int(line.split()[1]), headers, b"")
        if answer.status < 200:
            return answer
        if answer.values("transfer-encoding"):
            body = b""
            while size := int(self._file.readline(), 16):
                body += self._file.read(size)
                self._file.readline()
            self._file.readline()
        else:
            body = self._file.read(int(answer.values("content-length")[0]))
        return Answer(answer.status, headers, body)

    def is_over(self) -> bool:
        """Tell that the other side closes the connection without another byte."""
        return self._file.read() == b""

    def close(self) -> None:
        """Close it."""
        self._file.close()
        self._socket.close()


def upgrade_answers(
    port: int, request: tuple[str, str, str, str], upgrade: str, framing: str, *, waits: bool
) -> list[Answer]:
    """Send a request with a body and ``Upgrade``, then a plain one; returns all answers.

    Args:
        port: where.
        request: method, path, content type and body.
        upgrade: the headers that ask for another protocol, with more headers if wanted.
        framing: ``length`` or ``chunked``.
        waits: send the body only when the server asks for it.
    """
    method, path, content_type, body = request
    size = len(body.encode())
    chunk = f"{size:x}\r\n{body}\r\n0\r\n\r\n"
    sent = body if framing == "length" else chunk
    length = f"Content-Length: {size}" if framing == "length" else "Transfer-Encoding: chunked"
    expect = "Expect: 100-continue\r\n" if waits else ""
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{upgrade}{expect}"
        f"Content-Type: {content_type}\r\n{length}\r\n\r\n"
    )
    connection = Connection(port)
    try:
        connection.send(head if waits else head + sent)
        if waits:
            assert connection.answer().status == 100
            connection.send(sent)
        answers = [connection.answer()]
        connection.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answers.append(connection.answer())
        assert connection.is_over()
        return answers
    finally:
        connection.close()
