"""What a button carries: a version, what to do, a job's id, and which of its pictures.

No state: whoever owns the job, and all it was made from, is asked for when the button is pressed,
so a button works for as long as its picture exists.
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
        subject: a job's id, or where a page begins.
        arg: which picture of the job, by index; the seed that the Edit form was filled with; or
            empty.
    """

    action: Action
    subject: str
    arg: str = ""

    @property
    def index(self) -> int | None:
        """Return which picture is meant; None: none in particular."""
        return int(self.arg) if self.arg.isdecimal() else None

    def __str__(self) -> str:
        return ":".join(filter(None, (_VERSION, self.action, self.subject, self.arg)))


def parse(text: str) -> CustomId | None:
    """Read an id of ours; None if it is of another version, or damaged."""
    found = _V1.fullmatch(text)
    if found is None or found[1] not in get_args(Action):
        return None
    return CustomId(found[1], found[2], found[3] or "")  # type: ignore[arg-type]


def is_ours(text: str) -> bool:
    """Tell whether an id is of any version of ours, so that somebody waits for an answer."""
    return _OURS.fullmatch(text) is not None
