"""The release of the service, compared with the release that wrote a row."""

from __future__ import annotations

from importlib import metadata
from typing import Final

RELEASE: Final = metadata.version("cascade-serve")


def is_later(release: str | None) -> bool:
    """Return True if a release is later than this one; rows without a release are earlier."""
    from packaging.version import (
        Version,
    )  # imported late: the bot's image has the command, but not this package

    return release is not None and Version(release) > Version(RELEASE)
