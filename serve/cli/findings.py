"""What the doctor's checks return."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found, and what to do about it."""

    name: str
    status: Literal["ok", "warning", "broken"]
    detail: str
    remedy: str = ""
