"""``cascade up``: serves until a signal stops it, then drains."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from contextlib import ExitStack
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Protocol

import typer

from serve.cli.findings import require
from serve.cli.options import chosen_url
from serve.cli.output import counted, note, own_command, say
from serve.cli.suggestions import suggestions

if TYPE_CHECKING:
    from serve.settings import Settings

Host = Annotated[
    str | None, typer.Option("--host", help="Address to listen on; overrides CASCADE_HTTP_HOST.")
]
Port = Annotated[
    int | None,
    typer.Option(
        "--port", min=1, max=65535, help="Port to listen on; overrides CASCADE_HTTP_PORT."
    ),
]


class StopSignal:
    """Waits for Ctrl-C or SIGTERM; a second signal ends the process at once."""

    def __init__(self) -> None:
        self._asked = threading.Event()

    def install(self) -> None:
        """Install handlers for both signals; call it last, as Ray installs its own."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)

    def wait(self) -> None:
        """Block until the first signal."""
        self._asked.wait()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._asked.is_set():
            note("stopping at once")
            # Nothing is left behind: Ray's node follows this process (PR_SET_PDEATHSIG), each
            # worker follows the node, and the fork server ends with its standard input.
            os._exit(128 + number)
        self._asked.set()


Logs = Annotated[bool, typer.Option("--logs", help="Print the replicas' logs here as well.")]


def up(host: Host = None, port: Port = None, logs: Logs = False) -> None:
    """Serve until Ctrl-C; running jobs may finish first."""
    from serve.cli.machine_checks import check_data_dir
    from serve.cli.port_checks import check_no_start
    from serve.local.data_folder import in_use
    from serve.local.fork_server import ForkServer
    from serve.local.private_files import keep_files_private
    from serve.local.ray_access import check_mode
    from serve.local.ray_environment import prepare
    from serve.local.start_marker import start_marked
    from serve.settings import load_settings

    keep_files_private()
    check_mode(os.environ)
    changes = {"http_host": host, "http_port": port}
    settings = load_settings(
        **{name: value for name, value in changes.items() if value is not None}
    )
    for check in (check_data_dir, check_no_start):
        require(check(settings))
    with in_use(settings.data_dir), ExitStack() as starting, ExitStack() as on_failure:
        starting.enter_context(start_marked(settings.data_dir, settings.http_port))
        # First, as its imports take as long as the checks and imports here.
        fork_server = ForkServer(prepare(settings))
        on_failure.callback(fork_server.close)
        needs_key = _check_and_report(settings)

        def start_here() -> Running:
            from serve.local.cluster import start

            running = start(settings, show_logs=logs, fork_server=fork_server)
            starting.close()
            on_failure.pop_all()
            return running

        serve_until_stopped(start_here, settings.drain_s, needs_key=needs_key)


def _check_and_report(settings: Settings) -> bool:
    """Check what the service needs, and print what it is going to serve.

    Returns:
        True if callers need an API key.
    """
    from cascade_core.checkpoints.checkpoint import open_checkpoint
    from serve.cli.machine_checks import check_acceleration
    from serve.cli.port_checks import check_port_to_start
    from serve.cli.service_checks import check_blobs, check_database
    from serve.gateway.auth.exposure import KEYLESS, check_exposure

    for check in (check_acceleration, check_database, check_blobs):
        require(check(settings))
    answered = check_exposure(settings)
    require(check_port_to_start(settings))
    for source in settings.model_sources():
        if source.is_hub:
            note(f"model {source.model}: looking for its files, fetching what is missing")
        checkpoint = open_checkpoint(source)
        say(f"model   {checkpoint.id}  {checkpoint.revision}")
        say(f"licence {checkpoint.licence}")
    say(f"data    {settings.data_dir}")
    say(f"answers {answered}")
    say("starting Ray and the stages ...")
    return answered != KEYLESS


class Running(Protocol):
    """A started service."""

    @property
    def url(self) -> str:
        """Where it answers."""

    @property
    def metrics_url(self) -> str:
        """Where Prometheus fetches its metrics."""

    def drain_and_stop(self) -> int:
        """Let running jobs finish, then stop; returns how many are still open."""


def serve_until_stopped(start: Callable[[], Running], drain_s: float, *, needs_key: bool) -> None:
    """Start the application, print how to use it, drain at the first signal."""
    running = start()
    stop = StopSignal()
    stop.install()
    say(f"ready   {running.url}  (docs: {running.url}/docs)")
    say(f"metrics {running.metrics_url}")
    address = "" if running.url == chosen_url() else f"--url {running.url} "
    say(f'try     {own_command()} generate {address}"{suggestions(1)[0]}"')
    say("Ctrl-C stops.")
    say(f"\nStudio: {_studio(running.url, needs_key)}")
    stop.wait()
    note(f"draining: running jobs get up to {drain_s:g} s; Ctrl-C again stops at once")
    left = running.drain_and_stop()
    verb = "goes" if left == 1 else "go"
    note(f"stopped; {counted(left, 'job')} {verb} on at the next start" if left else "stopped")


def _studio(url: str, needs_key: bool) -> str:
    from serve.studio.files import studio_files

    return studio_files().problem or f"{url}/{'  (an API key signs in)' if needs_key else ''}"
