"""The processes of a service that this process has started, by kind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import psutil

REPLICAS: Final = ("StageC", "StageB", "StageA", "Jobs", "Gateway")
_MARKS: Final = {name: f"ServeReplica:cascade:{name}" for name in REPLICAS} | {
    "controller": "ray::ServeController",
    "proxy": "ray::ProxyActor",
}
KINDS: Final = tuple(_MARKS)


def running() -> Iterator[tuple[str, psutil.Process]]:
    """Yield the kind and the process of each; another service on this machine is left alone."""
    for process in psutil.Process().children(recursive=True):
        try:
            line = " ".join(process.cmdline())
        except psutil.NoSuchProcess:  # ended meanwhile
            continue
        for kind, mark in _MARKS.items():
            if mark in line:
                yield kind, process


def one_of_each() -> dict[str, psutil.Process]:
    """Return a process of each kind that runs."""
    return dict(running())


def resident_mb(process: psutil.Process) -> float:
    """Return a process's resident memory."""
    return float(process.memory_info().rss) / 2**20
