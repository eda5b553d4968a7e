"""The service with stages that do nothing: only gateway, jobs and stores take time."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.engine.null_stages import NullStage
from bench.service.chaos import scratch_settings
from serve.local.cluster import start
from serve.local.running import Running
from serve.settings import Settings

ANY_NUMBER = 100_000


@contextmanager
def null_service(
    *, has_limits: bool = False, database_url: str = ""
) -> Iterator[tuple[Running, Settings]]:
    """Run the service with null stages and data of its own.

    Args:
        has_limits: refuse jobs as by default; speed is measured without, or it would end there.
        database_url: of an empty database; empty: SQLite files.
    """
    with tempfile.TemporaryDirectory() as folder:
        settings = scratch_settings(Path(folder), database_url)
        if not has_limits:
            many = {"max_open_jobs": ANY_NUMBER, "max_open_jobs_per_user": ANY_NUMBER}
            settings = settings.model_copy(update=many)
        running = start(settings, stage_class=NullStage)
        try:
            yield running, settings
        finally:
            running.stop()
