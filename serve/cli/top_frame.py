"""One frame of ``cascade top``, made from answers of the HTTP API."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cascade_core.families.stage_info import StageInfo
from serve.cli.output import cell, prompt_of

RATE_OVER = timedelta(minutes=10)
_STATE_STYLES = {"failed": "red", "queued": "yellow"}

Job = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The service's answers at one moment.

    Attributes:
        status: the answer of ``/v1/status``.
        stages: in order; empty if an older service lists none.
        unready: why the service is not ready; empty if it is.
        running: the newest running jobs.
        queued: the newest queued job, if any.
        succeeded: the latest ones that the service lists.
        failed: the latest ones.
    """

    url: str
    at: datetime
    status: Mapping[str, Any]
    stages: tuple[StageInfo, ...]
    unready: str
    running: list[Job]
    queued: list[Job]
    succeeded: list[Job]
    failed: list[Job]


def frame(seen: Snapshot) -> RenderableType:
    """Return the frame, for 80 columns and more."""
    return Group(
        _head(seen),
        Text(),
        _counts(seen),
        Text(),
        _stages(seen),
        Text(),
        _running(seen),
        *_errors(seen.failed),
    )


def lost_frame(last: RenderableType, reason: str) -> RenderableType:
    """Return the last frame below the reason why there is no newer one."""
    return Group(Text(str(cell(reason)), style="bold red"), last)


def _head(seen: Snapshot) -> RenderableType:
    head = Table.grid(expand=True)
    head.add_column(ratio=1, no_wrap=True)
    head.add_column(justify="right", no_wrap=True)
    is_ready = (
        Text(f"  {cell(seen.unready)}", "bold red") if seen.unready else Text("  ready", "green")
    )
    head.add_row(
        Text(str(cell(seen.url)), "bold") + is_ready,
        Text(f"{seen.at.astimezone():%H:%M:%S}", "dim"),
    )
    return head


def _counts(seen: Snapshot) -> Text:
    status, line = seen.status, Text()
    for state in ("queued", "running"):
        line.append(f"{status[state]} {state}   ", _STATE_STYLES.get(state, ""))
    eta_s = seen.queued[0]["eta_s"] if seen.queued else None
    if eta_s is not None:
        line.append(f"the last queued job is done in about {_duration(eta_s)}")
    ended = status["last_hour"]
    line.append("\nlast hour  ", "dim")
    line.append(f"{ended['succeeded']} done  ")
    line.append(f"{ended['failed']} failed  ", "red" if ended["failed"] else "")
    line.append(f"{ended['cancelled']} cancelled")
    return line


def _stages(seen: Snapshot) -> Table:
    table = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("stage", min_width=8)
    for title in ("replicas", "jobs there", "s/image", "images/min"):
        table.add_column(title, justify="right")
    replicas = seen.status["replicas"]
    there = Counter(_stage(job, seen.stages) for job in seen.running)
    recent = [job for job in seen.succeeded if _age(job["finished_at"], seen.at) < RATE_OVER]
    for stage in seen.stages:
        seconds, images = _passed(stage, recent)
        table.add_row(
            cell(stage.name.upper()),
            _replicas(replicas, stage.deployment),
            str(there[stage.name]),
            f"{seconds / images:.2f}" if images else "-",
            f"{images / _minutes(seen.succeeded, recent, seen.at):.1f}" if images else "-",
        )
    for name in ("Jobs", "Gateway"):
        table.add_row(name, _replicas(replicas, name), "", "", "")
    return table


def _replicas(replicas: Mapping[str, int] | None, name: str) -> Text:
    count = (replicas or {}).get(name)
    return Text("?" if count is None else str(count), "dim" if count == 0 else "")


def _passed(stage: StageInfo, jobs: Iterable[Job]) -> tuple[float, int]:
    """Return the model's seconds and the number of images, over the jobs that passed a stage."""
    passed = [job for job in jobs if job["cost"].get(stage.cost_key, 0) > 0]
    seconds = sum(float(job["cost"][stage.cost_key]) for job in passed)
    return seconds, sum(len(job["images"]) for job in passed)


def _minutes(listed: list[Job], recent: list[Job], now: datetime) -> float:
    """Return the minutes that ``recent`` covers: less than the window if the list is full."""
    if len(recent) < len(listed) or not recent:
        return RATE_OVER.total_seconds() / 60
    oldest = max(_age(job["finished_at"], now) for job in recent)
    return max(1.0, oldest.total_seconds() / 60)


def _running(seen: Snapshot) -> Table:
    table = Table.grid(expand=True, padding=(0, 2, 0, 0))
    for _ in ("id", "step", "pictures", "age"):
        table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    for job in seen.running:
        request, progress, stage = job["request"], job["progress"], _stage(job, seen.stages)
        is_stepping = progress and stage == job["stage"]
        step = f"{progress['step']}/{progress['steps']}" if is_stepping else "waits"
        age = _duration(_age(job["started_at"], seen.at).total_seconds())
        pictures = f"{len(job['images'])}/{request['n']}"
        at = f"{stage.upper()} {step}" if stage else ""
        table.add_row(*map(cell, (job["id"], at, pictures, age, prompt_of(job))))
    if not seen.running:
        table.add_row(Text("no job runs", "dim"))
    return table


def _stage(job: Job, stages: Sequence[StageInfo]) -> str:
    """Return the stage that a job is in or waits for; for several pictures, the last reported."""
    reported: str = job["stage"] or ""
    for stage, following in pairwise(stages):
        is_done = job["request"]["n"] == 1 and job["cost"].get(stage.cost_key, 0) > 0
        if stage.name == reported and is_done:
            return following.name
    return reported


def _errors(jobs: list[Job]) -> list[Text]:
    lines = [Text("\nlast errors", "dim")] if jobs else []
    for job in jobs:
        error = job["error"] or {}
        at = f"{datetime.fromisoformat(job['finished_at']):%H:%M:%S}"
        code = str(cell(error.get("code", "")))
        lines.append(Text.assemble(str(cell(job["id"])), f"  {at}  ", (code, "red")))
        lines.append(Text("  ") + cell(error.get("message", "")))
    return lines


def _age(at: str, now: datetime) -> timedelta:
    return max(timedelta(0), now - datetime.fromisoformat(at))


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
