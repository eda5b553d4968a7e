"""All of the doctor's checks, in the order in which it shows them."""

from __future__ import annotations

from collections.abc import Callable

from cascade_core.errors import CascadeError
from serve.cli.findings import Finding
from serve.cli.machine_checks import (
    check_acceleration,
    check_data_dir,
    check_disk,
    check_gpu,
    check_open_files,
    check_python,
    check_ray,
    check_shared_memory,
)
from serve.cli.options import chosen_url
from serve.cli.port_checks import check_port, check_server, is_service_starting
from serve.cli.ray_checks import check_ray_access, check_ray_ports
from serve.cli.service_checks import (
    check_access,
    check_blobs,
    check_database,
    check_licence,
    check_marks,
    check_model,
    check_moderation,
    check_studio,
)
from serve.local.private_files import private_files
from serve.settings import Settings, load_settings

_CHECKS: tuple[Callable[[Settings], Finding], ...] = (
    check_gpu,
    check_acceleration,
    check_model,
    check_licence,
    check_marks,
    check_data_dir,
    check_disk,
    check_shared_memory,
    check_open_files,
    check_database,
    check_access,
    check_moderation,
    check_studio,
    check_blobs,
    check_ray_access,
    check_ray_ports,
)


def run_checks(url: str) -> list[Finding]:
    """Return all findings; checks that need settings are left out if the settings are wrong."""
    findings = [check_python(), check_ray()]
    try:
        settings = load_settings()
        url = chosen_url(url)
    except CascadeError as error:
        return [*findings, Finding("settings", "broken", str(error), "correct these variables")]
    findings.append(Finding("settings", "ok", "all values are valid"))
    with private_files():
        findings += [check(settings) for check in _CHECKS]
    server = check_server(url)
    is_served = server.status == "ok" or is_service_starting(settings)
    return [*findings, check_port(settings, is_served=is_served), server]
