"""The button that a job came from, named in the job's message."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

Means = Literal["vary", "reroll", "again", "edit"]


@dataclass(frozen=True, slots=True)
class Credit:
    """What a job came from, where a button made it: the client tells that of commands alone.

    Attributes:
        means: the button.
        user_id: of the person who pressed it.
        link: to the message that it was pressed on; empty where others could not open it.
    """

    means: Means
    user_id: int
    link: str = ""

    @classmethod
    def from_state(cls, value: Any) -> Self | None:
        """Read a credit from a job's client state; None where there is none of this form."""
        try:
            is_known = bool(value) and value["means"] in get_args(Means)
            return cls(value["means"], int(value["user_id"]), value["link"]) if is_known else None
        except (TypeError, ValueError, LookupError):
            return None
