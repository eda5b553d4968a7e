"""What the page of benchmarks tells its readers to type."""

from __future__ import annotations

import ast
import shlex
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

import bench
from bench.readme import COMMANDS, PREAMBLE, TITLES

APART = {
    "footprint": "bench.service.footprint",
    "baseline": "bench.baseline",
    "monolith": "bench.monolith",
    "databases": "bench.service.databases",
    "cpu_profile": "bench.service.cpu_profile",
    "library": "bench.service.library",
    "library_page": "bench.service.library_page",
    "other_builds": "bench.provenance.other_builds",
    "nearest": "bench.provenance.nearest",
    "exports": "bench.exports",
    "backlog_postgresql": "bench.service.backlog",
    "recovery": "bench.service.recovery",
    "soak": "bench.service.soak",
    "chaos": "bench.service.chaos",
    "chaos_postgresql": "bench.service.chaos",
    "autoscale": "bench.autoscale",
    "autoscale_live": "bench.autoscale --calibrate",
    "autoscale_wake": "bench.autoscale --wake",
    "gpu": "bench.gpu",
    "real_size": "bench.real_size",
}
"""What writes each result that `python -m bench` does not write."""


@pytest.mark.parametrize("command", COMMANDS.values())
def test_each_command_is_taken_by_its_own_parser(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    python, dash_m, name, *arguments = shlex.split(command)
    assert (python, dash_m) == ("python", "-m")
    found = find_spec(name)
    assert found is not None
    is_package = found.submodule_search_locations is not None
    module = import_module(f"{name}.__main__" if is_package else name)
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)  # some refuse to run without
    if hasattr(module, "_arguments"):
        module._arguments()  # exits unless it takes them
    else:
        assert arguments == []


def test_each_result_is_written_by_all_benchmarks_or_by_one_that_the_page_names() -> None:
    assert TITLES.keys() - _run_by_all() == APART.keys()
    assert [command for command in APART.values() if f"{command}`" not in PREAMBLE] == []


def _run_by_all() -> set[str]:
    """Return the modules that `python -m bench` runs; each writes the result of its name."""
    tree = ast.parse(Path(bench.__path__[0], "__main__.py").read_text(encoding="utf-8"))
    called = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return {ast.unparse(func).removesuffix(".main") for func in called}
