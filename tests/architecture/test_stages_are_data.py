"""Stages are data: outside their own modules, code reads their names from the family."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from cascade_core.families.stable_cascade import STABLE_CASCADE

ROOT = Path(__file__).parents[2]
ROOMS = ("cascade_core", "serve", "bot")
CORE = ROOT / "cascade_core"
HOMES = (CORE / "families", CORE / "stages", CORE / "handoff.py", CORE / "geometry.py")
NAMES = STABLE_CASCADE.names
LETTERS = "".join(NAMES)
OF_ONE_STAGE = re.compile(
    rf"(?i:(\w*_)?stage_[{LETTERS}](_\w+)?)|[{LETTERS}]_s|Stage[{LETTERS.upper()}]([A-Z]\w*)?"
)
EXCEPTIONS = {
    # The public variables CASCADE_STAGE_C_SIZE and CASCADE_STAGE_B_SIZE.
    "serve/settings.py": {"stage_c_size", "stage_b_size"},
    # A field of Geometry, which stored hand-offs hold by this name.
    "cascade_core/checkpoints/checkpoint.py": {"stage_a_factor"},
}


def sources() -> Iterator[Path]:
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            if not any(path.is_relative_to(home) for home in HOMES):
                yield path


def comparisons(node: ast.AST) -> Iterator[ast.expr]:
    """What a value is compared with, indexed or called by, or collected in: places of a name.

    A letter of an alphabet, such as a bound of a range of characters, is compared with ``<=``.
    """
    if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Eq | ast.NotEq | ast.In):
        yield from (node.left, *node.comparators)
    elif isinstance(node, ast.Subscript):
        yield node.slice
    elif isinstance(node, ast.Call):
        is_ord = isinstance(node.func, ast.Name) and node.func.id == "ord"
        yield from [] if is_ord else [*node.args, *(item.value for item in node.keywords)]
    elif isinstance(node, ast.Dict):
        yield from (key for key in node.keys if key is not None)
    elif isinstance(node, ast.Tuple | ast.List):
        yield from node.elts


def named(node: ast.AST) -> str:
    """The name that a node uses or defines, or that its string holds."""
    for field in ("id", "attr", "arg", "name", "value"):
        name = getattr(node, field, None)
        if isinstance(name, str):
            return name
    return ""


def named_stages(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        for value in comparisons(node):
            if isinstance(value, ast.Constant) and value.value in NAMES:
                yield value.lineno, repr(value.value)
        name = named(node)
        if OF_ONE_STAGE.fullmatch(name):
            yield getattr(node, "lineno", 0), name


def test_no_module_outside_the_family_names_a_stage() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path in sources()
        for line, name in named_stages(ast.parse(path.read_text(encoding="utf-8")))
        if name not in EXCEPTIONS.get(str(path.relative_to(ROOT)), ())
    ]

    assert found == [], "ask the family for it:\n" + "\n".join(found)
