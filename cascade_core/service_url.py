"""Addresses of the service, as its clients are given them: the command line and the bot."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit, urlunsplit
from urllib.request import getproxies, proxy_bypass

from cascade_core.errors import SettingsInvalid

MAX_PORT = 65535
NO_SOCKS = "a SOCKS proxy needs a package that is not installed"
SOCKS_REMEDY = "pip install 'httpx[socks]', or unset ALL_PROXY"


def http_url(host: str, port: int) -> str:
    """Return the address of a service that listens on ``host``, for a client on its machine."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return f"http://{host}:{port}"
    if address.is_unspecified:  # all addresses, of which a client needs one
        address = ipaddress.ip_address("127.0.0.1" if address.version == 4 else "::1")
    return f"http://[{address}]:{port}" if address.version == 6 else f"http://{address}:{port}"


def default_url(environment: Mapping[str, str]) -> str:
    """Return where ``cascade up`` with these variables listens, for a client on its machine.

    Raises:
        SettingsInvalid: the port is none.
    """
    host = environment.get("CASCADE_HTTP_HOST", "").strip().strip("[]") or "127.0.0.1"
    port = environment.get("CASCADE_HTTP_PORT", "").strip() or "0"
    if not (port.isascii() and port.isdecimal() and len(port) < 6 and int(port) <= MAX_PORT):
        raise SettingsInvalid(f"CASCADE_HTTP_PORT must be a whole number from 0 to {MAX_PORT}")
    return http_url(host, int(port) or 8000)


def checked_url(value: str, name: str = "CASCADE_URL") -> str:
    """Return a service's address without what people add to it: spaces, a slash, ``/v1``.

    Raises:
        SettingsInvalid: it is no address.
    """
    try:
        parts = urlsplit(value.strip())
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname)
        _ = parts.port  # a ValueError where it is no number
    except ValueError:
        is_address = False
    if not is_address:
        raise SettingsInvalid(
            f"{name} must be an address that starts with http:// or https://, "
            "such as http://127.0.0.1:8000"
        )
    path = parts.path.rstrip("/").removesuffix("/v1")
    return urlunsplit((parts.scheme, parts.netloc, path, "", "")).rstrip("/")


def without_user(url: str) -> str:
    """Return an address without the user and password that may be in it."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def is_loopback(host: str) -> bool:
    """Return True if an address, or the name ``localhost``, means this machine alone."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host.lower() == "localhost"
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def proxy_of(url: str) -> str:
    """Return which proxy of the environment leads to a service, without a password; empty: none.

    This machine's own addresses use no proxy: there they would mean the proxy's machine.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if is_loopback(host) or host in ("0.0.0.0", "::") or proxy_bypass(host):
        return ""
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all") or ""
    return without_user(proxy)
