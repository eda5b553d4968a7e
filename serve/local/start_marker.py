"""Tells clients on this machine that the service is starting, before it listens."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

from cascade_core.errors import CascadeError
from cascade_core.service_url import is_loopback

WAIT_FOR_START = "wait until cascade up says: ready"
_NAME = "starting"


def starting(url: str) -> str:
    """Return the sentence about a service that is starting."""
    return f"the service at {url} is starting"


@contextmanager
def start_marked(data_dir: Path, port: int) -> Iterator[None]:
    """Mark in the data folder that a service starts at a port, until the block or process ends.

    If another start holds the file, its mark stays.
    """
    with (data_dir / _NAME).open("a+") as file:
        try:
            # A lock ends with its process, also if that is killed.
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield
            return
        file.truncate(0)
        file.write(str(port))
        file.flush()
        try:
            yield
        finally:
            with suppress(FileNotFoundError):
                os.unlink(file.name)


def is_starting(url: str) -> bool:
    """Return True if the service of the settings' data folder is starting at an address."""
    from serve.settings import load_settings

    try:
        parts = urlsplit(url)
        data_dir = load_settings().data_dir
        with (data_dir / _NAME).open() as file:
            return is_loopback(parts.hostname or "") and _is_held(file.fileno(), parts.port or 80)
    except (CascadeError, OSError):
        return False


def _is_held(descriptor: int, port: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.pread(descriptor, 16, 0) == str(port).encode()
    return False
