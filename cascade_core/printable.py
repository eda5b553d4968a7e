"""Text of strangers, made safe for a terminal and for a line of a log."""

from __future__ import annotations

_UNSAFE = (
    *range(0x20),  # C0: escape sequences, line feeds that forge a line
    *range(0x7F, 0xA0),  # delete, and C1: escape sequences in one character
    *(0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)),  # reorder the text
    *(0x2028, 0x2029),  # end a line for some readers
    *range(0xD800, 0xE000),  # halves of a pair, which no encoding takes
)
_ESCAPES = {code: f"\\u{code:04x}" for code in _UNSAFE}
_ESCAPES_BUT_LINES = {code: _ESCAPES[code] for code in _UNSAFE if code != ord("\n")}


def one_line(text: str) -> str:
    r"""Return the text in one line, its control and bidirectional characters as ``\u001b``."""
    return text.translate(_ESCAPES)


def lines(text: str) -> str:
    """Return the text as :func:`one_line` does, but with its line feeds."""
    return text.translate(_ESCAPES_BUT_LINES)
