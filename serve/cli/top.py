"""``cascade top``: shows what the service does, every two seconds."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from serve.cli import options
from serve.cli.options import DEFAULT_URL
from serve.cli.output import CliError

if TYPE_CHECKING:
    from serve.cli.client import ServiceClient
    from serve.cli.top_frame import Snapshot

EVERY_S = 2.0
_LATEST_JOBS = 200
"""The most that the service lists at once; rates and seconds per image are computed from them."""
_SHOWN_JOBS = 10

Once = Annotated[bool, typer.Option("--once", help="Print one frame and end.")]


def top(once: Once = False, url: options.Url = DEFAULT_URL) -> None:
    """Watch stages, queue and jobs; only an admin's key shows other people's jobs."""
    from rich.console import Console
    from rich.live import Live

    from serve.cli.client import ServiceClient
    from serve.cli.top_frame import frame, lost_frame

    console = Console(highlight=False)
    with ServiceClient(url) as client:
        shown = frame(read_snapshot(client))
        if once:
            console.print(shown)
            return
        with Live(shown, console=console, screen=True, auto_refresh=False) as live:
            while True:
                try:
                    time.sleep(EVERY_S)
                    shown = frame(read_snapshot(client))
                except KeyboardInterrupt:
                    return
                except CliError as error:  # the service may come back
                    live.update(lost_frame(shown, error.message), refresh=True)
                else:
                    live.update(shown, refresh=True)


def read_snapshot(client: ServiceClient) -> Snapshot:
    """Read the service's state over HTTP."""
    from serve.cli.top_frame import Snapshot

    return Snapshot(
        url=client.url,
        at=datetime.now(UTC),
        status=client.status(),
        stages=client.stages(),
        unready=client.unready_reason(),
        running=client.jobs("running", _SHOWN_JOBS),
        queued=client.jobs("queued", 1),
        succeeded=client.jobs("succeeded", _LATEST_JOBS),
        failed=client.jobs("failed", 3),
    )
