"""Which release of the service this is, and how it compares with one that wrote a row."""

from __future__ import annotations

from importlib import metadata
from typing import Final

from packaging.version import Version

RELEASE: Final = metadata.version("cascade-serve")


def is_later(release: str | None) -> bool:
    """Return True if a release came after this one; rows without one are of an earlier release."""
    return release is not None and Version(release) > Version(RELEASE)
