"""Keeps files private to the service's user: they contain prompts, pictures and secrets."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_OTHERS = 0o077
"""The permissions of group and others."""


def keep_files_private() -> None:
    """Close files that this process and its children write from now on to other users."""
    os.umask(_OTHERS)


@contextmanager
def private_files() -> Iterator[None]:
    """Close files that are written in the block to other users."""
    before = os.umask(_OTHERS)
    try:
        yield
    finally:
        os.umask(before)


def is_private(path: Path) -> bool:
    """Return True if a file or folder, not a link, is this user's and closed to others."""
    found = path.lstat()
    is_plain = stat.S_ISDIR(found.st_mode) or stat.S_ISREG(found.st_mode)
    return is_plain and found.st_uid == os.getuid() and not found.st_mode & _OTHERS
