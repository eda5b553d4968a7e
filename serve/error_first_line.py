"""Shortens other software's error messages, to fit into a sentence of ours."""

from __future__ import annotations


def first_line(error: BaseException) -> str:
    """Return an error's first line, without the hints and statements that follow."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
