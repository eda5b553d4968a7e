"""The doctor's checks of the service's address: is the port free, does the service answer there."""

from __future__ import annotations

import errno
import os
import socket
from contextlib import suppress

import httpx

from cascade_core.service_url import http_url
from serve.cli.client import ServiceClient
from serve.cli.findings import Finding
from serve.cli.output import CliError
from serve.local.start_marker import WAIT_FOR_START, is_starting, starting
from serve.settings import Settings

_PORT_REMEDIES = {
    errno.EADDRINUSE: "stop what listens there, or set CASCADE_HTTP_PORT",
    errno.EADDRNOTAVAIL: "set CASCADE_HTTP_HOST to an address of this machine, such as 127.0.0.1",
    errno.EACCES: "set CASCADE_HTTP_PORT to 1024 or more",
}
_HEALTH_TIMEOUT_S = 2.0


def check_port(settings: Settings, *, is_served: bool) -> Finding:
    """Check that the service can listen, or listens already."""
    host, port = settings.http_host, settings.http_port
    where = http_url(host, port).removeprefix("http://")
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError):  # a name with a part of over 63 characters
        remedy = "set CASCADE_HTTP_HOST to an address of this machine, such as 127.0.0.1"
        return Finding("port", "broken", f"there is no host named {host!r}", remedy)
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            if is_served:
                return Finding("port", "ok", f"{where} is taken by the service")
            detail = f"{where}: {os.strerror(error.errno or 0)}"
            return Finding("port", "broken", detail, _PORT_REMEDIES.get(error.errno or 0, ""))
    return Finding("port", "ok", f"{where} is free")


def check_port_to_start(settings: Settings) -> Finding:
    """Check that a new service can listen; a port that a running service holds is named as such."""
    found = check_port(settings, is_served=False)
    url = _address(settings)
    if found.status == "broken" and _is_ours(url):
        remedy = "stop it first, or start another with --port and a CASCADE_DATA_DIR of its own"
        return Finding("port", "broken", f"the service is at {url} already", remedy)
    return found


def check_no_start(settings: Settings) -> Finding:
    """Check that no service of these settings is starting; it would not listen yet."""
    url = _address(settings)
    if is_starting(url):
        return Finding("port", "broken", starting(url), WAIT_FOR_START)
    return Finding("port", "ok", f"nothing starts at {url}")


def is_service_starting(settings: Settings) -> bool:
    """Return True if a service of these settings is starting."""
    return is_starting(_address(settings))


def check_server(url: str) -> Finding:
    """Check that a service answers and is ready; a missing service is only a warning."""
    try:
        with ServiceClient(url) as client:
            client.check_ready()
            return Finding("server", "ok", f"{client.url} is ready")
    except CliError as error:
        return Finding("server", "warning", error.message, error.remedy)


def _is_ours(url: str) -> bool:
    """Return True if the service listens at an address of this machine."""
    with suppress(httpx.HTTPError, ValueError):
        answer = httpx.get(f"{url}/healthz", timeout=_HEALTH_TIMEOUT_S, trust_env=False)
        return bool(answer.json() == {"status": "ok"})
    return False


def _address(settings: Settings) -> str:
    return http_url(settings.http_host, settings.http_port)
