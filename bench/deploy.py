"""Deploying by config, as ``serve deploy`` and KubeRay do it."""

from __future__ import annotations

import threading
import time

from ray import serve as ray_serve
from ray.serve.context import _get_global_client
from ray.serve.schema import ApplicationStatus, ServeDeploySchema

_LOOK_EVERY_S = 0.2


def deploy_config(config: ServeDeploySchema, timeout_s: float = 600.0) -> None:
    """Deploy applications and wait until all run; Ray's own wait ends after a minute.

    Raises:
        TimeoutError: they do not run in time.
    """
    _get_global_client().deploy_apps(config)
    until_s = time.monotonic() + timeout_s
    while not _run(config):
        if time.monotonic() > until_s:
            raise TimeoutError(f"the applications do not run after {timeout_s:g} s")
        threading.Event().wait(_LOOK_EVERY_S)


def _run(config: ServeDeploySchema) -> bool:
    found = ray_serve.status().applications
    names = [application.name for application in config.applications]
    return all(name in found and found[name].status == ApplicationStatus.RUNNING for name in names)
