"""The doctor's checks of Ray: whether other users can reach its processes and files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from cascade_core.errors import SettingsInvalid
from cascade_core.service_url import is_loopback
from serve.cli.findings import Finding
from serve.local.private_files import is_private
from serve.local.ray_access import check_mode, private_temp_dir, token_path
from serve.settings import Settings

_MOST_PORTS = 4
"""How many ports one line shows."""


def check_ray_access(settings: Settings) -> Finding:
    """Check that Ray asks for a private token and has a place for its files."""
    try:
        check_mode(os.environ)
        folder = private_temp_dir()
    except SettingsInvalid as error:
        return Finding("ray access", "broken", str(error), "correct this variable")
    token = token_path(settings.data_dir)
    if os.path.lexists(token) and not is_private(token):
        detail = f"other users can read Ray's token {token}"
        remedy = f"stop the service, then rm {token}: the next start makes another"
        return Finding("ray access", "warning", detail, remedy)
    return Finding("ray access", "ok", f"by a token only; Ray's files and logs are in {folder}/ray")


def check_ray_ports(settings: Settings) -> Finding:
    """Name the ports of a running service's Ray that listen beyond this machine."""
    try:
        ports = sorted(set(open_ports(private_temp_dir() / "ray")) - {settings.http_port})
    except SettingsInvalid:  # check_ray_access has reported it
        ports = []
    if not ports:
        return Finding("ray ports", "ok", "none is open beyond this machine")
    some = ", ".join(map(str, ports[:_MOST_PORTS])) + (", ..." if ports[_MOST_PORTS:] else "")
    detail = (
        f"{len(ports)} ports of Ray listen beyond this machine ({some}); "
        "all but the metrics ask for the token"
    )
    return Finding("ray ports", "warning", detail, "close them to the network with a firewall")


def open_ports(temp_dir: Path) -> Iterator[int]:
    """Yield the ports of this user's processes whose Ray has its files in ``temp_dir``."""
    import psutil

    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if not any(str(temp_dir) in word for word in process.cmdline()):
                continue
            for owner in (process, *process.children(recursive=True)):
                for connection in owner.net_connections("inet"):
                    is_open = connection.status == psutil.CONN_LISTEN
                    if is_open and not is_loopback(connection.laddr.ip):
                        yield connection.laddr.port
