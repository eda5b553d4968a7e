"""Users' words inside the bot's messages: shown as they are, triggering nothing."""

from __future__ import annotations

import re

MAX_PROMPT_CHARS = 1000
"""Longest prompt taken from Discord; it must fit whole into an alt text, which has 1024."""

_ZERO_WIDTH = "\u200b"
_SPECIAL = re.compile(r"([\\*_`~|>\[\]()#<@:-])")
_ESCAPED = re.compile(r"\\([\\*_`~|>\[\]()#<@:-])")


def one_line(text: str) -> str:
    """Return words without line breaks and doubled spaces, cut to what a prompt may have."""
    printable = "".join(char for char in text if char.isprintable() or char.isspace())
    return " ".join(printable.split())[:MAX_PROMPT_CHARS].strip()


def escape(text: str) -> str:
    """Return text that Discord shows literally: no formatting, links, mentions or emoji codes."""
    return _SPECIAL.sub(r"\\\1", text)


def unescape(text: str) -> str:
    """Undo :func:`escape`."""
    return _ESCAPED.sub(r"\1", text)


def shorten(text: str, max_chars: int) -> str:
    """Return the text, or its beginning with an ellipsis."""
    return text if len(text) <= max_chars else text[: max_chars - 1].rstrip() + "…"
