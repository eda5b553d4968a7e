"""Addresses of the service, and which of them a proxy of the environment may see."""

from __future__ import annotations

import pytest

from cascade_core.errors import SettingsInvalid
from cascade_core.service_url import checked_url, http_url, is_loopback, proxy_of, without_user

HERE = [
    "http://127.0.0.1:8000",
    "http://localhost",
    "http://[::1]:8000",
    "http://0.0.0.0:1",
    "http://[::]:1",
]


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),
        ("::", "http://[::1]:80"),
        ("::1", "http://[::1]:80"),
        ("fe80::2", "http://[fe80::2]:80"),
        ("example.org", "http://example.org:80"),
    ],
)
def test_an_address_names_what_a_client_on_the_machine_asks(host: str, expected: str) -> None:
    assert http_url(host, 80) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        (" http://127.0.0.1:8000/ ", "http://127.0.0.1:8000"),
        ("http://127.0.0.1:8000/v1", "http://127.0.0.1:8000"),
        ("https://example.org/art/v1/", "https://example.org/art"),
        ("http://[::1]:8000/v1/", "http://[::1]:8000"),
    ],
)
def test_what_people_add_to_an_address_is_taken_off(given: str, expected: str) -> None:
    assert checked_url(given) == expected


@pytest.mark.parametrize(
    "given",
    ["", "127.0.0.1:8000", "localhost:8000", "ftp://x", "http://", "http://x:port", "http://[::1"],
)
def test_what_is_no_address_is_refused_with_an_example(given: str) -> None:
    with pytest.raises(SettingsInvalid, match=r"such as http://127\.0\.0\.1:8000$"):
        checked_url(given)


@pytest.mark.parametrize("url", HERE)
@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"])
def test_no_proxy_sees_this_machines_own_addresses(
    monkeypatch: pytest.MonkeyPatch, url: str, name: str
) -> None:
    monkeypatch.setenv(name, "http://proxy.example:3128")
    assert proxy_of(url) == ""


def test_the_proxy_to_another_machine_is_named_without_its_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("http_proxy", "http://ann:geheim@proxy.example:3128")
    assert proxy_of("http://example.org") == "http://proxy.example:3128"
    assert proxy_of("https://example.org") == ""
    monkeypatch.setenv("no_proxy", "example.org")
    assert proxy_of("http://example.org") == ""
    monkeypatch.delenv("no_proxy")
    monkeypatch.setenv("all_proxy", "socks5://127.0.0.1:9")
    assert proxy_of("https://example.org") == "socks5://127.0.0.1:9"


def test_a_password_in_an_address_is_not_shown() -> None:
    assert without_user("http://ann:geheim@[::1]:8000/x") == "http://[::1]:8000/x"


@pytest.mark.parametrize(
    ("host", "is_here"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.4", False),
        ("::ffff:192.168.1.4", False),
        ("localhost.evil.example", False),
        ("", False),
    ],
)
def test_loopback_is_this_machine_and_nothing_else(host: str, is_here: bool) -> None:
    assert is_loopback(host) is is_here
