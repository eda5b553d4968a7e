"""Folders and names: each folder can be read at a glance, and one name means one thing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROOMS = ("cascade_core", "serve", "bot", "recipe", "bench", "tests")
MAX_MODULES = 16
GROWING = (
    ROOT / "serve" / "cli",  # a module for each command
    ROOT / "tests" / "serve" / "cli",
    ROOT / "serve" / "storage" / "schema" / "migrations" / "versions",
)


def modules(room: str) -> Iterator[Path]:
    for path in (ROOT / room).rglob("*.py"):
        if not path.stem.startswith("__"):
            yield path


def test_a_folder_holds_few_modules() -> None:
    by_folder: dict[Path, int] = defaultdict(int)
    for room in ROOMS:
        for path in modules(room):
            by_folder[path.parent] += 1
    too_many = {
        str(folder.relative_to(ROOT)): count
        for folder, count in by_folder.items()
        if count > MAX_MODULES and folder not in GROWING
    }

    assert too_many == {}


def test_no_folder_holds_a_module_and_a_package_of_one_name() -> None:
    twice = [
        str(path.relative_to(ROOT))
        for room in ROOMS
        for path in modules(room)
        if (path.with_suffix("") / "__init__.py").exists()
    ]

    assert twice == []
