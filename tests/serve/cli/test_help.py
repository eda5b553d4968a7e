"""Help, and what starting the command line costs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from serve.cli.main import app
from serve.cli.output import own_command
from serve.cli.suggestions import suggestions
from tests.limits import HANG_S
from tests.serve.cli.cascade import Cascade
from tests.serve.cli.scripted_server import ScriptedService

_HEAVY = ("torch", "ray", "diffusers", "transformers")


def _modules_after(*lines: list[str]) -> set[str]:
    """Return what a process has loaded after these command lines."""
    program = (
        "import sys\nfrom serve.cli.main import app\n"
        f"for line in {lines!r}:\n"
        "    code = app(line, standalone_mode=False)\n"
        "    assert not code, code\n"
        "print('LOADED', *{name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": str(Path.cwd())},
        capture_output=True,
        text=True,
        check=True,
        timeout=HANG_S,
    )
    return set(done.stdout.rpartition("LOADED")[2].split())


def test_help_loads_nothing_heavy() -> None:
    commands = ([], ["generate"], ["vary"], ["jobs"], ["keys"], ["up"], ["doctor"])
    loaded = _modules_after(*([*command, "--help"] for command in commands))
    assert loaded.isdisjoint({*_HEAVY, "httpx", "numpy"})


def test_generate_against_a_server_loads_neither_torch_nor_ray(
    service: ScriptedService, tmp_path: Path
) -> None:
    line = ["generate", "a red circle", "--url", service.url, "--out", str(tmp_path)]
    assert _modules_after(line).isdisjoint(_HEAVY)


def test_help_of_generate_shows_prompts_that_suit_the_model() -> None:
    shown = Cascade("http://127.0.0.1:1")("generate", "--help").stdout
    assert all(f'cascade generate "{prompt}"' in shown for prompt in suggestions())


@pytest.mark.parametrize("command", ["generate", "vary", "jobs", "top", "doctor"])
def test_help_names_no_address_that_settings_could_make_untrue(command: str) -> None:
    shown = Cascade("http://127.0.0.1:1")(command, "--help").stdout
    assert "where cascade up listens" in shown
    assert "8000" not in shown


def test_every_argument_is_named_in_capitals() -> None:
    named = list(_arguments(get_command(app)))
    assert {"PROMPT", "NAME", "ID"} <= set(named)
    assert [name for name in named if not name.partition(".")[0].isupper()] == []


def _arguments(command: Any) -> Iterator[str]:
    """Yield the arguments of a command and of those below it, as help shows them."""
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            yield parameter.metavar or parameter.name
    for below in getattr(command, "commands", {}).values():
        yield from _arguments(below)


def test_a_mistyped_command_is_bad_usage() -> None:
    assert Cascade("http://127.0.0.1:1")("genrate", "a red circle").exit_code == 2


def test_every_command_has_a_name_in_the_list() -> None:
    shown = Cascade("http://127.0.0.1:1")("--help").stdout
    rows = [line.strip("│ ") for line in shown.splitlines() if line.startswith("│")]
    assert any(row.startswith("bot ") for row in rows)
    assert not [row for row in rows if row.startswith("The Discord bot")]


def test_the_version_is_printed() -> None:
    result = Cascade("http://127.0.0.1:1")("--version")
    assert (result.exit_code, result.stdout) == (0, f"cascade {version('cascade-serve')}\n")


def test_a_command_that_path_does_not_have_is_named_by_its_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "bin" / "cascade"
    file.parent.mkdir()
    file.touch(mode=0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", [str(file)])
    monkeypatch.setenv("PATH", "")
    assert own_command() == "bin/cascade"
    monkeypatch.setenv("PATH", str(file.parent))
    assert own_command() == "cascade"
