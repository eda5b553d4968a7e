"""Makes users' text safe inside the bot's messages: shown literally, without mentions."""

from __future__ import annotations

import re

MAX_PROMPT_CHARS = 1000
"""Longest prompt accepted from Discord; it must fit into an alt text of 1024 characters."""

_JOINING = frozenset(
    "\u200c\u200d"  # join letters of Persian and Indian scripts, and emoji
    "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2"  # Arabic, Syriac
) | frozenset(map(chr, range(0xE0020, 0xE0080)))  # flags of regions
_SPECIAL = re.compile(r"([\\*_`~|>\[\]()#<@:-])")
_ESCAPED = re.compile(r"\\([\\*_`~|>\[\]()#<@:-])")


def one_line(text: str) -> str:
    """Return text in one line with single spaces, cut to the length of a prompt.

    Invisible characters are removed, except those that join other characters.
    """
    kept = "".join(c for c in text if c.isprintable() or c.isspace() or c in _JOINING)
    line = " ".join(kept.split())[:MAX_PROMPT_CHARS].strip()
    return line if line.strip("".join(_JOINING) + " ") else ""


def escape(text: str) -> str:
    """Return text that Discord shows literally: no formatting, links, mentions or emoji codes."""
    return _SPECIAL.sub(r"\\\1", text)


def unescape(text: str) -> str:
    """Undo :func:`escape`."""
    return _ESCAPED.sub(r"\1", text)


def shorten(text: str, max_chars: int) -> str:
    """Return the text, cut with an ellipsis if it is longer than ``max_chars``."""
    return text if len(text) <= max_chars else text[: max_chars - 1].rstrip() + "…"
