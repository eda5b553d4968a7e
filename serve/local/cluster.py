"""Starts and stops the whole service on this machine, in a Ray cluster of its own."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import ray

from cascade_core.errors import CascadeError, NotReady
from cascade_core.service_url import http_url
from serve.error_first_line import first_line
from serve.gateway.auth.exposure import check_exposure
from serve.local import ray_access, ray_environment
from serve.local.fork_server import ForkServer
from serve.local.head_node import lean_head_node
from serve.moderation.moderator import load_checkers
from serve.provenance.picture_signer import load_signer
from serve.provenance.watermarks import load_watermarker
from serve.served_models import ServedModel, choose_models, open_models
from serve.settings import Settings

if TYPE_CHECKING:
    from serve.app import AppArgs
    from serve.local.running import Running

LOCAL_TRIES = 2
"""Few, as a person watches the start on this machine and should soon learn why it fails."""
RAY_TRIES = 3
"""Ray gives each of its processes 15 to 30 s to start, too few on a busy machine."""
OBJECT_STORE_BYTES = 512 * 1024 * 1024
"""Enough: latents and pictures have at most a few MB each. Ray's default is 30% of the memory."""


def start(
    settings: Settings,
    models: Sequence[ServedModel] = (),
    args: AppArgs | None = None,
    *,
    show_logs: bool = False,
    stage_class: type | None = None,
    fork_server: ForkServer | None = None,
) -> Running:
    """Start Ray and the service on this machine; returns when the service answers.

    Args:
        settings: the service's settings.
        models: that make the images; none: those that the settings name.
        args: size of the deployments.
        show_logs: print the replicas' logs here.
        stage_class: as of :func:`serve.app.build_with`; None: the one that loads models.
        fork_server: started before, so that it imports while this process does.

    Raises:
        SettingsInvalid: it would listen beyond this machine and there are no API keys, or a
            checker cannot be loaded, or nothing can be signed.
        ModelUnavailable: a configured model is not there.
        NotReady: Ray or a deployment could not start; says which and why.
    """
    ray_access.check_mode(os.environ)
    check_exposure(settings)
    chosen = models or choose_models(settings.model_sources())
    load_checkers(settings, open_models(chosen))
    load_signer(settings)
    load_watermarker(settings)
    server = fork_server or ForkServer(ray_environment.prepare(settings))
    try:
        _start_ray(server.temp_dir, show_logs=show_logs)
    except BaseException:
        ray.shutdown()
        server.close()
        raise
    running = _running(settings, server)
    try:
        _run_application(settings, chosen, args, stage_class)
    except BaseException as error:
        why = _why_not_started(error)
        running.stop()
        if isinstance(error, CascadeError) or not isinstance(error, Exception):
            raise
        raise NotReady(f"{why} ({_more(server.temp_dir)})") from error
    return running


def _start_ray(temp_dir: Path, *, show_logs: bool) -> None:
    for tries_left in reversed(range(RAY_TRIES)):
        try:
            with lean_head_node(logs_to_driver=show_logs, meanwhile=_import_application):
                ray.init(
                    address="local",
                    include_dashboard=False,
                    object_store_memory=OBJECT_STORE_BYTES,
                    log_to_driver=show_logs,
                    logging_level="WARNING" if show_logs else "CRITICAL",
                    _temp_dir=str(temp_dir),
                )
            break
        except Exception as error:
            ray.shutdown()
            _import_application()  # raises its own error if that was the cause: no try would help
            if not tries_left:
                message = f"Ray did not start: {first_line(error)} ({_more(temp_dir)})"
                raise NotReady(message) from error
    if not show_logs:
        # A filter, because Serve sets the level of its logger when it starts.
        logging.getLogger("ray.serve").addFilter(lambda record: record.levelno >= logging.ERROR)


def _import_application() -> None:
    """Import what the functions below do: seconds that pass while Ray's node starts anyway."""
    for name in ("serve.app", "serve.local.running"):
        import_module(name)


def _run_application(
    settings: Settings,
    models: Sequence[ServedModel],
    args: AppArgs | None,
    stage_class: type | None,
) -> None:
    from ray import serve as ray_serve

    from serve.app import AppArgs, build_with
    from serve.local.running import APP_NAME
    from serve.stages.deployments import StageDeployment

    ray_serve.start(http_options={"host": settings.http_host, "port": settings.http_port})
    sizes = args or AppArgs(constructor_tries=LOCAL_TRIES)
    application = build_with(settings, sizes, models, stage_class or StageDeployment)
    ray_serve.run(application, name=APP_NAME, route_prefix="/")


def _running(settings: Settings, fork_server: ForkServer) -> Running:
    from serve.local.running import Running

    url = http_url(settings.http_host, settings.http_port)
    return Running(url, settings.drain_s, fork_server)


def _why_not_started(error: BaseException) -> str:
    from serve.local.running import APP_NAME, why_not_running

    with suppress(Exception):  # Serve's controller may not have started
        if why := why_not_running(APP_NAME):
            return why
    return f"Ray Serve did not start: {first_line(error)}"


def _more(temp_dir: Path) -> str:
    return f"more in {temp_dir}/session_latest/logs"
