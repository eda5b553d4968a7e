"""The custom ids of buttons and forms, and the values of select menus' options.

An id is ``version:action:subject:arg``. To choose an option is the same as to press a button with
the option's value as its id.

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
    "variants",
    "options",
    "subtle",
    "strong",
    "larger",
    "finer",
    "pick",
    "start",
    "choose",
    "template",
    "hero",
    "vote",
    "submit",
    "approve",
    "reject",
    "approved",
]
Visibility = Literal["public", "private"]
"""Of a picture's message: people see it, or its person alone does."""

_VERSION = "v1"
_OURS = re.compile(r"v\d+:.*", re.DOTALL)
_V1 = re.compile(r"v1:([a-z]+):([A-Za-z0-9_.-]{1,64})(?::([A-Za-z0-9_.-]{1,20}))?")


@dataclass(frozen=True, slots=True)
class CustomId:
    """The parsed id of a button or a form.

    Attributes:
        action: the name of the handler.
        subject: what the action applies to: a job's id, a comparison's, a picture's that waits for
            approval, ``all``, a page's number, or the id of the message with the picture that a
            form starts from.
        arg: the index of a picture, ``all``, ``none`` or ``keep``; a pair's index and the vote,
            such as ``0.left``; the seed in a form; the version of an asset; or empty. In a menu it
            ends with the visibility of the picture's own message, such as ``0.public``: Discord
            does not tell of that message.
    """

    action: Action
    subject: str
    arg: str = ""

    @property
    def index(self) -> int | None:
        """Return the picture's index; None if the id names no picture."""
        first = self.arg.partition(".")[0]
        return int(first) if first.isdecimal() else None

    @property
    def is_in_menu(self) -> bool:
        """Return True if the button is not on the picture's own message, but in a menu of it."""
        return self._last in get_args(Visibility)

    @property
    def is_private(self) -> bool:
        """Return True if the button is in the menu of a picture that its person alone sees."""
        return self._last == "private"

    @property
    def _last(self) -> str:
        return self.arg.rpartition(".")[2]

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
