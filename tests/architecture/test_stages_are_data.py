"""Stages and kinds of job are data: other modules read their names from family and operation."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from cascade_core.families.stable_cascade import STABLE_CASCADE
from cascade_core.operations.registry import OPERATIONS

ROOT = Path(__file__).parents[2]
ROOMS = ("cascade_core", "serve", "bot")
CORE = ROOT / "cascade_core"
HOMES = (
    CORE / "families",
    CORE / "operations",
    CORE / "stages",
    CORE / "handoff.py",
    CORE / "geometry.py",
)
NAMES = STABLE_CASCADE.names
LETTERS = "".join(NAMES)
OF_ONE_STAGE = re.compile(
    rf"(?i:(\w*_)?stage_[{LETTERS}](_\w+)?)|[{LETTERS}]_s|Stage[{LETTERS.upper()}]([A-Z]\w*)?"
)
EXCEPTIONS = {
    # Letters of an alphabet, and of ``--c``, a parameter of prompts.
    "cascade_core/word_filter.py": {"a"},
    "bot/policy/prompt_parameters.py": {"c"},
    # The public variables CASCADE_STAGE_C_SIZE and CASCADE_STAGE_B_SIZE.
    "serve/setting_groups/models.py": {"stage_c_size", "stage_b_size"},
    # The bot's word for its button *Vary details*, which messages on Discord hold.
    "bot/interactions/button_actions.py": {"vary"},
    "bot/interactions/lookup.py": {"vary"},
    "bot/policy/job_request.py": {"vary"},
    "bot/policy/message_credit.py": {"vary"},
    "bot/views/custom_ids.py": {"vary"},
    "bot/views/picture_buttons.py": {"vary"},
    "bot/views/picture_menus.py": {"vary"},
    "bot/views/picture_messages.py": {"vary"},
    # A header of HTTP.
    "serve/gateway/routes/images.py": {"vary"},
    # A field of Geometry, which stored hand-offs hold by this name.
    "cascade_core/checkpoints/cascade_files.py": {"stage_a_factor"},
}


def sources() -> Iterator[Path]:
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            if not any(path.is_relative_to(home) for home in HOMES):
                yield path


def named(node: ast.AST) -> str:
    """The name that a node uses or defines, or that its string holds."""
    for field in ("id", "attr", "arg", "name", "value"):
        name = getattr(node, field, None)
        if isinstance(name, str):
            return name
    return ""


def names_in(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        name = named(node)
        is_text = isinstance(node, ast.Constant)
        if OF_ONE_STAGE.fullmatch(name) or (is_text and name in (*NAMES, *OPERATIONS)):
            yield getattr(node, "lineno", 0), name


def test_no_module_outside_families_and_operations_names_a_stage_or_a_kind_of_job() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path in sources()
        for line, name in names_in(ast.parse(path.read_text(encoding="utf-8")))
        if name not in EXCEPTIONS.get(str(path.relative_to(ROOT)), ())
    ]

    assert found == [], "ask the family or the operation for it:\n" + "\n".join(found)
