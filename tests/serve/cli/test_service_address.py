"""Where the service listens, and how its clients find it."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from bot.service.client import CascadeClient
from bot.settings import load_settings as load_bot_settings
from cascade_core.errors import NotReady, SettingsInvalid
from serve.cli.port_checks import check_port
from serve.local.start_marker import is_starting, start_marked
from serve.settings import Settings, load_settings
from tests.ray.client import free_port
from tests.serve.cli.cascade import Cascade
from tests.serve.cli.scripted_server import ScriptedService

_DEAD = "127.0.0.1:9"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CASCADE_DATA_DIR", str(tmp_path / "data"))
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize(
    ("variable", "proxy"),
    [
        ("HTTP_PROXY", f"http://{_DEAD}"),
        ("ALL_PROXY", f"socks5://{_DEAD}"),
        ("ALL_PROXY", "nonsense://x"),
    ],
)
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(
    service: ScriptedService,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    proxy: str,
    host: str,
) -> None:
    monkeypatch.setenv(variable, proxy)
    url = service.url.replace("127.0.0.1", host)
    assert Cascade(url)("jobs").exit_code == 0
    client = CascadeClient(url, budget_s=30.0)
    assert (await client.jobs()).jobs == ()
    await client.close()


def test_a_proxy_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://ann:geheim@{_DEAD}")
    result = Cascade("http://cascade.invalid")("jobs")
    assert result.exit_code == 3
    assert f"through the proxy http://{_DEAD}" in result.stderr
    assert "NO_PROXY=cascade.invalid" in result.stderr
    assert "geheim" not in result.stderr


@pytest.mark.parametrize(
    ("proxy", "sentence"),
    [(f"socks5://{_DEAD}", "SOCKS"), ("nonsense://x", "the proxy nonsense://x is not an address")],
)
def test_a_proxy_that_cannot_be_used_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, proxy: str, sentence: str
) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    result = Cascade("http://cascade.invalid")("jobs")
    assert result.exit_code == 2
    assert sentence in result.stderr
    with pytest.raises(SettingsInvalid, match=sentence):
        CascadeClient("http://cascade.invalid")


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "localhost:8000", "http://", "http://x:y"])
def test_an_address_without_http_is_explained(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    result = Cascade(url)("jobs")
    assert result.exit_code == 2
    assert "http://127.0.0.1:8000" in result.stderr
    monkeypatch.setenv("CASCADE_URL", url)
    with pytest.raises(SettingsInvalid, match=r"CASCADE_URL: must be an address"):
        load_bot_settings()


@pytest.mark.parametrize("end", ["/", "/v1", "/v1/"])
def test_the_address_for_openais_clients_works_as_well(
    service: ScriptedService, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Cascade(service.url + end)("jobs").exit_code == 0
    monkeypatch.setenv("CASCADE_URL", service.url + end)
    assert load_bot_settings().url == service.url


def test_a_password_in_the_address_is_not_shown() -> None:
    assert "geheim" not in Cascade(f"http://ann:geheim@{_DEAD}")("jobs").stderr


def test_clients_ask_where_the_settings_say_that_the_service_listens(
    service: ScriptedService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CASCADE_HTTP_PORT", service.url.rpartition(":")[2])
    assert Cascade("")("jobs").exit_code == 0
    assert load_bot_settings().url == service.url
    monkeypatch.setenv("CASCADE_HTTP_PORT", "9")
    monkeypatch.setenv("CASCADE_HTTP_HOST", "::1")
    assert "http://[::1]:9" in Cascade("")("jobs").stderr


@pytest.mark.parametrize("host", ["::1", "[::1]", " 127.0.0.1 ", "localhost", "127.0.0.1"])
def test_a_host_may_be_of_either_kind_and_have_spaces_around_it(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CASCADE_HTTP_HOST", host)
    settings = load_settings(http_port=0)
    assert settings.http_host == host.strip(" []")
    assert check_port(settings, is_served=False).status == "ok"


@pytest.mark.parametrize("host", ["myhost.invalid", "x" * 70, "192.0.2.200"])
def test_a_host_that_is_none_of_this_machine_is_named_with_a_remedy(
    host: str, tmp_path: Path
) -> None:
    finding = check_port(Settings(http_host=host, data_dir=tmp_path), is_served=False)
    assert finding.status == "broken"
    assert host in finding.detail
    assert "CASCADE_HTTP_HOST" in finding.remedy
    assert "Unknown error" not in finding.detail


def test_up_validates_the_host_and_names_a_taken_port_of_ipv6() -> None:
    with socket.socket(socket.AF_INET6) as other:
        other.bind(("::1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        result = Cascade("")("up", "--host", "[::1]", "--port", port)
    assert result.exit_code == 1
    assert f"[::1]:{port}: Address already in use" in result.stderr


def test_a_service_that_starts_is_called_that_by_every_command(tmp_path: Path) -> None:
    url = "http://127.0.0.1:9"
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    assert not is_starting(url)
    with start_marked(data_dir, 9):
        assert is_starting(url)
        assert is_starting("http://localhost:9")
        assert not is_starting("http://127.0.0.1:10")
        assert not is_starting("http://192.0.2.1:9")
        for command in (["jobs"], ["jobs", "show", "J"], ["top", "--once"], ["generate", "x"]):
            result = Cascade(url)(
                *command, *(["--out", str(tmp_path)] * (command[0] == "generate"))
            )
            assert result.exit_code == 3, result.output
            assert "is starting" in result.stderr
        with start_marked(data_dir, 10):  # another one, which will find its port taken
            pass
        assert is_starting(url)
    assert not is_starting(url)
    assert "no server answers" in Cascade(url)("jobs").stderr


@pytest.mark.parametrize("port", ["99999", "-1", "eight"])
def test_a_wrong_port_in_the_settings_is_named_by_every_command(
    monkeypatch: pytest.MonkeyPatch, port: str
) -> None:
    monkeypatch.setenv("CASCADE_HTTP_PORT", port)
    result = Cascade("")("jobs")
    assert result.exit_code == 2
    assert "CASCADE_HTTP_PORT must be a whole number from 0 to 65535" in result.stderr


def test_a_server_that_takes_long_is_called_starting_only_while_it_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray's proxy accepts connections some time before it answers."""
    monkeypatch.setattr("serve.cli.client._TIMEOUT_S", 0.2)
    (tmp_path / "data").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        port = proxy.getsockname()[1]
        ask = Cascade(f"http://127.0.0.1:{port}")
        with start_marked(tmp_path / "data", port):
            early = ask("jobs")
        late = ask("jobs")
    assert (early.exit_code, late.exit_code) == (3, 3)
    assert "is starting" in early.stderr
    assert "did not answer in 0.2 s" in late.stderr
    assert "try: again later" in late.stderr


@pytest.mark.parametrize("is_same", [True, False])
def test_up_refuses_to_start_what_starts_already(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_same: bool
) -> None:
    port = free_port()
    port_of_the_first = port if is_same else free_port()
    started: list[Settings] = []

    def start(settings: Settings, *_: object, **__: object) -> None:
        started.append(settings)
        raise NotReady("no Ray in this test")

    monkeypatch.setattr("serve.local.cluster.start", start)
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("CASCADE_HTTP_PORT", str(port_of_the_first))
    with start_marked(tmp_path / "data", port_of_the_first):
        result = Cascade("")("up", "--port", str(port))
    assert result.exit_code == 1
    assert (f"the service at http://127.0.0.1:{port} is starting" in result.stderr) == is_same
    assert bool(started) != is_same


def test_doctor_calls_a_service_that_starts_that_and_its_port_taken_by_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir(mode=0o700)
    with socket.socket() as proxy:  # bound, but nothing answers yet
        proxy.bind(("127.0.0.1", 0))
        port = proxy.getsockname()[1]
        monkeypatch.setenv("CASCADE_HTTP_PORT", str(port))
        with start_marked(tmp_path / "data", port):
            result = Cascade("")("doctor")
    assert result.exit_code == 0, result.stdout
    assert "is taken by the service" in result.stdout
    assert "is starting" in result.stdout


def test_a_start_that_was_killed_is_not_called_a_start(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    program = (
        "import os, pathlib\nfrom serve.local.start_marker import start_marked\n"
        f"with start_marked(pathlib.Path({str(tmp_path / 'data')!r}), 9):\n    os._exit(1)"
    )
    subprocess.run([sys.executable, "-c", program], cwd=Path.cwd(), check=False)
    assert (tmp_path / "data" / "starting").exists()
    assert not is_starting("http://127.0.0.1:9")
