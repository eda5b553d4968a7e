"""Prose names its subject: comments, docstrings and docs say which client, process or person."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROOMS = ("cascade_core", "serve", "bot", "recipe", "bench")
VAGUE = re.compile(r"\b(who|whoever|nobody|somebody)\b", re.IGNORECASE)


def comments(source: str) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def docstrings(source: str) -> Iterator[tuple[int, str]]:
    """Docstrings, and the strings that stand below a constant or an attribute to explain it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            text = node.value.value
            yield from enumerate(text.splitlines() if isinstance(text, str) else (), node.lineno)


def prose() -> Iterator[tuple[Path, int, str]]:
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            source = path.read_text(encoding="utf-8")
            for line, text in (*comments(source), *docstrings(source)):
                yield path, line, text
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *ROOT.glob("*/README.md")]
    for path in sorted(pages):
        for line, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            yield path, line, text


def test_every_clause_names_its_subject() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {text.strip()}"
        for path, line, text in prose()
        if VAGUE.search(text)
    ]

    assert found == [], "say which client, process or person it is:\n" + "\n".join(found)
