"""Makes text of clients safe for terminals and logs, and checks that names can be seen."""

from __future__ import annotations

import re

_UNSAFE = (
    *range(0x20),  # C0: escape sequences, line feeds that forge a line
    *range(0x7F, 0xA0),  # delete, and C1: escape sequences in one character
    *(0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)),  # reorder the text
    *(0x2028, 0x2029),  # end a line for some readers
    *range(0xD800, 0xE000),  # halves of a pair, which no encoding takes
)
_ESCAPES = {code: f"\\u{code:04x}" for code in _UNSAFE}
_ESCAPES_BUT_LINES = {code: _ESCAPES[code] for code in _UNSAFE if code != ord("\n")}
# Zero-width non-joiner and joiner, and the tags of flags: invisible, but parts of words and emoji.
_JOINING = re.compile("[\u200c\u200d\U000e0020-\U000e007f]")


def one_line(text: str) -> str:
    r"""Return the text in one line, its control and bidirectional characters as ``\u001b``."""
    return text.translate(_ESCAPES)


def lines(text: str) -> str:
    """Return the text as :func:`one_line` does, but with its line feeds."""
    return text.translate(_ESCAPES_BUT_LINES)


def is_printable(text: str) -> bool:
    """Return True if a name is one visible line; joiners of scripts and emoji are ignored."""
    visible = _JOINING.sub("", text)
    return visible.isprintable() and bool(visible or not text)
