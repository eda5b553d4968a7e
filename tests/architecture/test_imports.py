import ast
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("cascade_core", "serve", "bot", "recipe", "bench", "docs", "tests")
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60


def loaded_by(*modules: str) -> set[str]:
    """Return what a fresh interpreter has loaded after importing the modules."""
    code = f"import sys, {', '.join(modules)}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return set(done.stdout.split())


def test_the_light_tiers_load_no_heavy_library() -> None:
    light = ("request", "geometry", "wire", "errors", "checkpoints.checkpoint", "engine.batching")
    loaded = loaded_by(*(f"cascade_core.{name}" for name in light))

    assert not loaded & {"torch", "numpy", "PIL", "diffusers", "transformers", "ray", "discord"}


def test_hand_offs_images_and_the_engine_load_no_torch() -> None:
    rooms = ("handoff", "images.image_files", "engine.engine")
    loaded = loaded_by(*(f"cascade_core.{name}" for name in rooms))

    assert "numpy" in loaded
    assert not loaded & {"torch", "diffusers", "transformers", "ray", "discord"}


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [
        ("serve.app", {"torch", "diffusers", "transformers", "discord"}),
        ("serve.cli.main", {"torch", "diffusers", "transformers", "ray", "discord"}),
        ("bot.service.client", {"torch", "numpy", "ray", "serve"}),
    ],
)
def test_only_processes_of_stages_load_a_model_library(module: str, forbidden: set[str]) -> None:
    if not is_there(module):
        pytest.skip(f"{module} is not written yet")

    assert not loaded_by(module) & forbidden


def is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def sources() -> Iterator[Path]:
    for room in ROOMS:
        yield from (ROOT / room).rglob("*.py")


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_files_and_functions_are_short_enough_to_read() -> None:
    too_long = []
    for path in sources():
        text = path.read_text(encoding="utf-8")
        name = path.relative_to(ROOT)
        if len(text.splitlines()) > MAX_FILE_LINES:
            too_long.append(f"{name}: {len(text.splitlines())} lines")
        for function in functions(ast.parse(text)):
            lines = (function.end_lineno or 0) - function.lineno + 1
            if lines > MAX_FUNCTION_LINES:
                too_long.append(f"{name}: {function.name} has {lines} lines")

    assert too_long == []


def test_rooms_import_nothing_when_they_are_entered() -> None:
    for room in ROOMS:
        entrance = ROOT / room / "__init__.py"
        if entrance.exists():
            body = ast.parse(entrance.read_text(encoding="utf-8")).body
            assert [type(node) for node in body] in ([], [ast.Expr]), f"{room}/__init__.py"


def test_folders_of_tests_are_no_packages() -> None:
    packages = [path.parent for path in (ROOT / "tests").rglob("__init__.py")]
    assert [folder for folder in packages if list(folder.glob("test_*.py"))] == []
