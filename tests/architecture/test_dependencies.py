"""Everything that is imported is declared, and everything that is declared is pinned."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OURS = {"cascade_core", "serve", "bot", "recipe", "bench", "docs", "tests"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
distributions_of = cache(packages_distributions)


def normalized(requirement: str) -> str:
    """Return the name that a requirement or a pin begins with."""
    found = re.match(r"[\w.-]+", requirement)
    assert found, requirement
    return re.sub(r"[-_.]+", "-", found[0]).lower()


def names(*lists: Iterable[str]) -> set[str]:
    return {normalized(item) for items in lists for item in items}


def imported(room: str) -> Iterator[tuple[str, str]]:
    """Yield the file and the top package of each import, also of those inside functions."""
    for path in (ROOT / room).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                modules = [node.module or ""]
            else:
                continue
            for module in modules:
                yield str(path.relative_to(ROOT)), module.partition(".")[0]


@pytest.mark.parametrize(
    ("room", "declared"),
    [
        ("cascade_core", names(PROJECT["dependencies"])),
        ("serve", names(PROJECT["dependencies"])),
        ("recipe", names(PROJECT["dependencies"])),
        ("bot", names(PROJECT["dependencies"], EXTRAS["bot"])),
        ("bench", names(PROJECT["dependencies"], *EXTRAS.values())),
        ("docs", names(PROJECT["dependencies"], *EXTRAS.values())),
        ("tests", names(PROJECT["dependencies"], *EXTRAS.values())),
    ],
)
def test_every_package_that_is_imported_is_declared(room: str, declared: set[str]) -> None:
    undeclared = {
        f"{file}: {package}"
        for file, package in imported(room)
        if package not in sys.stdlib_module_names | OURS
        and not names(distributions_of().get(package, [package])) & declared
    }
    assert not undeclared


def test_every_package_that_is_declared_is_pinned() -> None:
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = names(line for line in pins if "==" in line and not line.startswith("#"))
    declared = names(PROJECT["dependencies"], *EXTRAS.values())
    assert not declared - pinned - {PROJECT["name"]}
