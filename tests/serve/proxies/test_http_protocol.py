"""The HTTP servers' protocol, over raw sockets: requests that ask for another, and no HTTP."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from functools import partial

import pytest
from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send
from uvicorn import Config
from uvicorn.server import ServerState

from serve.proxies.http_protocol import HTTPProtocol
from serve.proxies.ray_proxy import ProxyMiddleware
from tests import raw_http
from tests.raw_http import BODIES, UPGRADES, Connection
from tests.serve.live_server import Server


@pytest.fixture
def port(app: FastAPI) -> Iterator[int]:
    with Server(ProxyMiddleware(app)) as server:
        yield server.port


@pytest.fixture
def connection(port: int) -> Iterator[Connection]:
    connection = Connection(port)
    yield connection
    connection.close()


@pytest.mark.parametrize("upgrade", UPGRADES)
def test_a_body_arrives_whole_although_its_request_asks_for_another_protocol(
    port: int, upgrade: str
) -> None:
    for *request, word in BODIES:
        for framing in ("length", "chunked"):
            for waits in (False, True):
                refused, healthy = raw_http.upgrade_answers(
                    port, tuple(request), UPGRADES[upgrade], framing, waits=waits
                )
                assert refused.status == 400, (request, framing, waits)
                assert word in refused.error["message"]
                assert (healthy.status, healthy.body) == (200, b'{"status":"ok"}')


@pytest.mark.parametrize("upgrade", UPGRADES)
def test_a_body_that_looks_like_a_request_is_never_run(port: int, upgrade: str) -> None:
    hidden = "GET /v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n"
    request = ("POST", "/v1/jobs", "application/json", hidden)
    for waits in (False, True):
        refused, healthy = raw_http.upgrade_answers(
            port, request, UPGRADES[upgrade], "length", waits=waits
        )
        assert (refused.status, healthy.body) == (400, b'{"status":"ok"}')


@pytest.mark.parametrize("upgrade", UPGRADES)
def test_a_request_without_a_body_is_answered_as_if_it_had_not_asked(
    connection: Connection, upgrade: str
) -> None:
    connection.send(f"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n{UPGRADES[upgrade]}\r\n")
    assert connection.answer().status == 200


def length(headers: str, body: str = "") -> str:
    return f"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n\r\n{body}"


@pytest.mark.parametrize(
    "text",
    [
        "hello\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : localhost\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: localhost\nX: y\r\n\r\n",
        "GET / HTTP/1.1\nHost: localhost\n\n",
        length("Content-Length: 5\r\nTransfer-Encoding: chunked", "0\r\n\r\n"),
        length("Content-Length: 5\r\nContent-Length: 6", "123456"),
        length("Content-Length: +5", "12345"),
        length("Transfer-Encoding: xchunked", "0\r\n\r\n"),
        length("Transfer-Encoding: chunked", "zz\r\n"),
    ],
)
def test_what_is_no_request_is_refused_in_our_form_and_ends_the_connection(
    connection: Connection, text: str
) -> None:
    connection.send(text)
    answer = connection.answer()
    assert answer.status == 400
    assert [answer.error["request_id"]] == answer.values("x-request-id")
    assert answer.values("content-type") == ["application/json"]
    assert answer.values("x-content-type-options") == ["nosniff"]
    assert connection.is_over()


async def test_a_body_does_not_wait_until_its_headers_are_acknowledged() -> None:
    loop = asyncio.get_running_loop()
    accepted: asyncio.Future[asyncio.Transport] = loop.create_future()

    class Watched(HTTPProtocol):
        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)
            accepted.set_result(transport)

    # As Ray makes it: with no number of a protocol, so that asyncio leaves it to us.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.bind(("127.0.0.1", 0))
        make = partial(Watched, Config(None), ServerState(), {})
        server = await loop.create_server(make, sock=listener)
        _, writer = await asyncio.open_connection(*listener.getsockname())
        connection = (await accepted).get_extra_info("socket")
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        writer.close()
        server.close()


@pytest.mark.parametrize("target", ["*", "localhost:80", "file:///etc/passwd", "http://"])
def test_a_target_that_is_no_path_is_refused(connection: Connection, target: str) -> None:
    connection.send(f"OPTIONS {target} HTTP/1.1\r\nHost: localhost\r\n\r\n")
    answer = connection.answer()
    assert answer.status == 400
    assert "must be a path" in answer.error["message"]


def test_a_whole_url_as_target_means_its_path_on_its_host(port: int) -> None:
    for host, status in (("localhost", 200), ("evil.example", 401)):
        connection = Connection(port)
        connection.send(f"GET http://{host}/v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert connection.answer().status == status
        connection.close()


@pytest.mark.parametrize("value", ["1", "\xff"])
def test_no_header_of_a_client_tells_ray_how_to_serve_it(value: str) -> None:
    seen: list[str] = []

    async def ray(scope: Scope, receive: Receive, send: Send) -> None:
        seen.extend(Headers(scope=scope))
        await JSONResponse({})(scope, receive, send)

    names = ["X-Request-Timeout-Seconds", "X_Request_Disconnect_Disabled", "X-Session-Id"]
    names += ["serve_multiplexed_model_id", "Serve-Multiplexed-Model-Id", "X-Mine"]
    headers = "".join(f"{name}: {value}\r\n" for name in names)
    with Server(ProxyMiddleware(ray)) as server:
        connection = Connection(server.port)
        connection.send(f"GET / HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n".encode("latin-1"))
        assert connection.answer().status == 200
        connection.close()
    assert sorted(seen) == ["host", "x-mine", "x-request-id"]
