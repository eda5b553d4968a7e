"""Keeps a second service from the data folder of one that runs."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cascade_core.errors import SettingsInvalid

_NAME = "in_use"


@contextmanager
def in_use(data_dir: Path) -> Iterator[None]:
    """Take the data folder for one service, until the block or the process ends.

    Two that start together would take the same executor id, and the jobs of the one that is killed
    would wait for a restart of the other.

    Raises:
        SettingsInvalid: another process has taken it.
    """
    with (data_dir / _NAME).open("w") as file:
        try:
            # A lock ends with its process, also if that is killed.
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SettingsInvalid(
                f"another cascade up uses the data folder {data_dir}: stop it, or set "
                "CASCADE_DATA_DIR and --port for a second service"
            ) from error
        yield
