"""The custom ids of buttons and forms: ``version:action:subject:arg``.

An id holds no state. The job's owner and request are loaded when the button is pressed, so a
button works for as long as its picture exists.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

Action = Literal[
    "vary",
    "reroll",
    "again",
    "edit",
    "info",
    "more",
    "delete",
    "erase",
    "cancel",
    "show",
    "page",
    "drop",
]

_VERSION = "v1"
_OURS = re.compile(r"v\d+:.*", re.DOTALL)
_V1 = re.compile(r"v1:([a-z]+):([A-Za-z0-9_.-]{1,64})(?::([A-Za-z0-9_.-]{1,20}))?")


@dataclass(frozen=True, slots=True)
class CustomId:
    """The parsed id of a button or a form.

    Attributes:
        action: the name of the handler.
        subject: what the action applies to: a job's id, ``all``, or a page's number.
        arg: the index of a picture, ``all`` or ``none``; the seed in the Edit form; or empty.
    """

    action: Action
    subject: str
    arg: str = ""

    @property
    def index(self) -> int | None:
        """Return the picture's index; None if the id names no picture."""
        return int(self.arg) if self.arg.isdecimal() else None

    def __str__(self) -> str:
        return ":".join(filter(None, (_VERSION, self.action, self.subject, self.arg)))


def parse(text: str) -> CustomId | None:
    """Parse a custom id; return None if it is damaged or of another version."""
    found = _V1.fullmatch(text)
    if found is None or found[1] not in get_args(Action):
        return None
    return CustomId(found[1], found[2], found[3] or "")  # type: ignore[arg-type]


def is_ours(text: str) -> bool:
    """Return True if the id belongs to this bot in any version, so the press needs an answer."""
    return _OURS.fullmatch(text) is not None
