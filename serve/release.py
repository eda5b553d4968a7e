"""Which release of the service this is, and how it compares with one that wrote a row."""

from __future__ import annotations

from importlib import metadata
from typing import Final

RELEASE: Final = metadata.version("cascade-serve")


def is_later(release: str | None) -> bool:
    """Return True if a release came after this one; rows without one are of an earlier release."""
    from packaging.version import Version  # the bot's image, which has the command, lacks it

    return release is not None and Version(release) > Version(RELEASE)
