"""The processes of a service: their kinds, told by their command lines, and what they use."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

REPLICAS: Final = ("StageC", "StageB", "StageA", "Jobs", "Gateway")
KINDS: Final = (*REPLICAS, "controller", "proxy")
"""Those that benchmarks kill and watch; a service also has others."""
_REPLICA: Final = "ServeReplica:cascade:"
_MARKS: Final = {
    _REPLICA: "",  # its deployment follows
    "ray::ServeController": "controller",
    "ray::ProxyActor": "proxy",
    "serve.cli.main": "command line",
    "bench/baseline/service.py": "command line",
    "fork-server": "fork server",
    "serve.local.fork_server": "fork server",
    "gcs/gcs_server": "Ray: cluster state",
    "raylet/raylet": "Ray: node",
    "dashboard/agent.py": "Ray: metrics agent",
    "ray::DashboardAgent": "Ray: metrics agent",
    "runtime_env/agent": "Ray: environments agent",
    "ray::RuntimeEnvAgent": "Ray: environments agent",
    "dashboard/dashboard.py": "Ray: dashboard",
    "log_monitor.py": "Ray: log monitor",
    "monitor.py": "Ray: autoscaler's monitor",
    "ray::IDLE": "Ray: idle worker",
    "default_worker.py": "Ray: idle worker",
    "forked_worker.py": "Ray: idle worker",
}
"""What the command line of each process holds; the first that fits counts."""


def kind_of(command_line: str) -> str:
    """Return what a process is; the name of its program if it is none of those that are known."""
    for mark, kind in _MARKS.items():
        if mark in command_line:
            return kind or re.split(r"[. ]", command_line.partition(mark)[2])[0]
    return Path(command_line.partition(" ")[0]).name


def with_kinds(processes: Iterable[psutil.Process]) -> Iterator[tuple[str, psutil.Process]]:
    """Yield the kind and the process of those that have not ended meanwhile."""
    for process in processes:
        try:
            kind = kind_of(" ".join(process.cmdline()))
        except psutil.NoSuchProcess:
            continue
        yield kind, process


def running(kinds: Collection[str] = KINDS) -> Iterator[tuple[str, psutil.Process]]:
    """Yield those of some kinds that this process has started, not another service's."""
    for kind, process in with_kinds(psutil.Process().children(recursive=True)):
        if kind in kinds:
            yield kind, process


def one_of_each() -> dict[str, psutil.Process]:
    """Return a process of each kind that runs."""
    return dict(running())


def tree(root: psutil.Process) -> list[psutil.Process]:
    """Return a process and all below it."""
    return [root, *root.children(recursive=True)]


def by_kind(
    processes: Iterable[psutil.Process], figure: Callable[[psutil.Process], float]
) -> dict[str, float]:
    """Return the sum of a figure of processes for each of their kinds."""
    found: dict[str, float] = {}
    for kind, process in with_kinds(processes):
        with suppress(psutil.NoSuchProcess):
            found[kind] = found.get(kind, 0.0) + figure(process)
    return found


def cpu_s(processes: Iterable[psutil.Process]) -> dict[str, float]:
    """Return the CPU time of processes and of their ended children until now, by kind."""
    return by_kind(processes, lambda process: sum(process.cpu_times()[:4]))


def cpu_s_since(
    before_s: dict[str, float], processes: Iterable[psutil.Process]
) -> dict[str, float]:
    """Return the CPU time since :func:`cpu_s` returned ``before_s``, of kinds that still run."""
    return {kind: used - before_s.get(kind, 0.0) for kind, used in cpu_s(processes).items()}


def resident_mb(process: psutil.Process) -> float:
    """Return a process's resident memory."""
    return float(process.memory_info().rss) / 2**20
