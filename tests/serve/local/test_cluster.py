"""A start of this machine's cluster with broken imports."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray
import ray._private.node as ray_node

from serve.local.cluster import start
from serve.settings import Settings


class NodeWithoutProcesses:
    """Stands for Ray's head node."""

    def __init__(self, _params: Any) -> None:
        self.start_ray_processes()

    def start_ray_processes(self) -> None:
        """Start none."""


def test_a_broken_import_is_raised_as_it_is_after_one_start_of_ray(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []

    def init(**_: Any) -> None:
        done.append("node started")
        ray_node.Node(SimpleNamespace())

    monkeypatch.setattr(ray_node, "Node", NodeWithoutProcesses)
    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    monkeypatch.setitem(sys.modules, "serve.app", None)  # as if it were not there
    server: Any = SimpleNamespace(
        temp_dir=tmp_path, close=lambda: done.append("fork server closed")
    )
    with pytest.raises(ModuleNotFoundError, match=r"serve\.app"):
        start(Settings(data_dir=tmp_path), fork_server=server)
    assert done == ["node started", "fork server closed"]
