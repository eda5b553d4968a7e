"""A message's credit: the button press that its job came from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

Means = Literal[
    "vary",
    "reroll",
    "again",
    "edit",
    "subtle",
    "strong",
    "remix",
    "larger",
    "finer",
    "pick",
    "start",
    "hero",
]
"""The buttons and menus that make a job from an earlier one or from a message.

``remix``: Edit with the composition kept; ``pick``: a number under drafts; ``start``: the message
menu *Start from this picture*; ``hero``: a series that keeps a picture's composition.
"""


@dataclass(frozen=True, slots=True)
class Credit:
    """The button press that a job came from; Discord itself shows this for commands only.

    Attributes:
        means: the button.
        user_id: the person that pressed it.
        link: to the pressed message; empty if other people cannot open it.
    """

    means: Means
    user_id: int
    link: str = ""

    @classmethod
    def from_state(cls, value: Any) -> Self | None:
        """Read a credit from a job's client state; None if the value is not a credit."""
        try:
            is_known = bool(value) and value["means"] in get_args(Means)
            return cls(value["means"], int(value["user_id"]), value["link"]) if is_known else None
        except (TypeError, ValueError, LookupError):
            return None
