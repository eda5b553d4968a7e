"""How long tests wait."""

from __future__ import annotations

from typing import Final

HANG_S: Final = 120.0
"""What has not happened after this long never will; a busy machine must not reach it."""
