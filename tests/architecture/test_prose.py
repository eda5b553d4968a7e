"""Prose names its subject: comments, strings and pages say which client, process or person."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROOMS = ("cascade_core", "serve", "bot", "recipe", "bench")
PAGES = (*ROOMS, "docs", "k8s")
CATALOG = ROOT / "bot" / "locale" / "en.toml"
VAGUE = re.compile(r"\b(who|whoever|nobody|somebody)\b", re.IGNORECASE)
TELL_WHETHER = re.compile(r"\b(tell|tells) whether\b", re.IGNORECASE)


def comments(source: str) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def strings(source: str) -> Iterator[tuple[int, str]]:
    """Docstrings, messages, help texts and log lines; of an f-string the parts that are text."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from enumerate(node.value.splitlines(), node.lineno)


def prose() -> Iterator[tuple[Path, int, str]]:
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            source = path.read_text(encoding="utf-8")
            for line, text in (*comments(source), *strings(source)):
                yield path, line, text
    pages = [*ROOT.glob("*.md"), *(page for room in PAGES for page in (ROOT / room).rglob("*.md"))]
    for path in (*sorted(pages), CATALOG):
        for line, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            yield path, line, text


def lines_with(words: re.Pattern[str]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{line}: {text.strip()}"
        for path, line, text in prose()
        if words.search(text)
    ]


def test_every_clause_names_its_subject() -> None:
    found = lines_with(VAGUE)

    assert found == [], "say which client, process or person it is:\n" + "\n".join(found)


def test_functions_return_true_instead_of_telling_whether() -> None:
    found = lines_with(TELL_WHETHER)

    assert found == [], 'say "Return True if":\n' + "\n".join(found)
