"""Minutes of ten times more requests than the service can work on, against half of its capacity.

    python -m bench.service.soak --minutes 4

Requests come at random moments at a fixed rate, whatever the answers are. Whatever was accepted
must end well, the rest must be refused at once, and no process may go on growing: the run fails
otherwise.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from typing import Any

import aiohttp
import psutil

from bench import processes
from bench.engine.null_stages import NULL_JOB
from bench.null_service import null_service
from bench.processes import resident_mb
from bench.service.load import TIMEOUT_S, ask, http_session, until_idle
from bench.stats import late_growth, machine, percentiles, percentiles_ms, summary, write_result
from serve.settings import Settings
from serve.storage.connections import open_engine
from serve.storage.schema.tables import jobs

STAGE_C_S = 0.25
USERS = 20
RATE_JOBS = 40
BASELINE_LOAD, OVERLOAD = 0.5, 10.0
SAMPLE_EVERY_S = 1.0
SETTLE_S = 10.0
OBEDIENT_CLIENTS, OBEDIENT_PAUSE_S = 5, 10.0
GROWTH_LIMIT, GROWTH_LIMIT_MB = 0.03, 5.0
"""A process may grow in the second half by so much of its size, or so many MB if that is more."""


@dataclass
class Load:
    """The outcome of an open loop of requests.

    Attributes:
        accepted: ids of jobs.
        accepted_s, refused_s: seconds until each answer.
        retry_after_s: what the refusals said.
        obeyed: (seconds until accepted, requests) of the clients that kept to Retry-After.
        wrong: answers that are neither 202 nor a 429 with a Retry-After.
    """

    accepted: list[str] = field(default_factory=list)
    accepted_s: list[float] = field(default_factory=list)
    refused_s: list[float] = field(default_factory=list)
    retry_after_s: list[float] = field(default_factory=list)
    obeyed: list[tuple[float, int]] = field(default_factory=list)
    wrong: Counter[str] = field(default_factory=Counter)


class Memory:
    """Samples the resident memory of the service's processes."""

    def __init__(self) -> None:
        self._processes = processes.one_of_each()
        self.times_s: list[float] = []
        self.samples_mb: dict[str, list[float]] = {name: [] for name in self._processes}

    def look(self) -> dict[str, float]:
        """Take a sample.

        Raises:
            RuntimeError: a process has died.
        """
        now = {}
        for name, process in self._processes.items():
            try:
                now[name] = resident_mb(process)
            except psutil.NoSuchProcess as error:
                raise RuntimeError(f"{name} has died") from error
        return now

    async def watch(self, seconds: float) -> None:
        """Collect samples for some time."""
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            self.times_s.append(time.monotonic())
            for name, size_mb in self.look().items():
                self.samples_mb[name].append(size_mb)
            await asyncio.sleep(SAMPLE_EVERY_S)

    def summary(self) -> dict[str, dict[str, float]]:
        """Return each process's largest size, and its growth in the second half, in MB."""
        return {
            name: {"max": max(sizes), "late_growth": late_growth(self.times_s, sizes)}
            for name, sizes in self.samples_mb.items()
        }


def main() -> None:
    """Start the service, load it, write the result; fail if it was not up to it."""
    minutes, where = _arguments().minutes, machine()
    with null_service(has_limits=True) as (running, settings):
        result = asyncio.run(_measure(running.url, settings, minutes * 60))
    faults = find_faults(result["phases"])
    write_result("soak", {"machine": where, "faults": faults} | result, _table(result))
    if faults:
        raise SystemExit("not good: " + "; ".join(faults))


async def _measure(url: str, settings: Settings, seconds: float) -> dict[str, Any]:
    async with http_session(url) as session:
        per_s = await _service_rate(session)
        await asyncio.sleep(SETTLE_S)
        before_mb, phases = Memory().look(), {}
        for name, factor in (("baseline", BASELINE_LOAD), ("overload", OVERLOAD)):
            memory, load = Memory(), Load()
            async with asyncio.TaskGroup() as group:
                group.create_task(memory.watch(seconds))
                group.create_task(_open_loop(session, load, factor * per_s, seconds))
                for number in range(OBEDIENT_CLIENTS if factor > 1 else 0):
                    group.create_task(_obey(session, load, number, seconds))
            await until_idle(session)
            phases[name] = _report(load, settings) | {
                "offered_per_s": factor * per_s,
                "memory_mb": memory.summary(),
            }
        await asyncio.sleep(SETTLE_S)
        return {
            "seconds_per_phase": seconds,
            "stage_c_s": STAGE_C_S,
            "limits": [settings.max_open_jobs, settings.max_open_jobs_per_user],
            "service_per_s": per_s,
            "phases": phases,
            "memory_before_mb": before_mb,
            "memory_after_mb": Memory().look(),
        }


async def _service_rate(session: aiohttp.ClientSession) -> float:
    """Return how many jobs per second the service finishes when there are always some waiting."""
    asked = [_post(session, number) for number in range(RATE_JOBS)]
    ids = [json.loads(body)["id"] for _, body, _ in await asyncio.gather(*asked)]
    await until_idle(session)
    bodies = [await ask(session, "GET", f"/v1/jobs/{job_id}", 200) for job_id in ids]
    ends = sorted(datetime.fromisoformat(json.loads(body)["finished_at"]) for body in bodies)
    return (RATE_JOBS - 1) / (ends[-1] - ends[0]).total_seconds()


async def _open_loop(
    session: aiohttp.ClientSession, load: Load, per_s: float, seconds: float
) -> None:
    """Send requests at random moments, whatever the answers are."""
    rng = random.Random(0)
    end_s = time.monotonic() + seconds
    next_s = time.monotonic()
    async with asyncio.TaskGroup() as group:
        while (next_s := next_s + rng.expovariate(per_s)) < end_s:
            await asyncio.sleep(next_s - time.monotonic())
            group.create_task(_send(session, load, rng.randrange(USERS)))


async def _send(session: aiohttp.ClientSession, load: Load, user: int) -> float | None:
    """Send a request and note its answer; returns after how many seconds to ask again, if so."""
    sent_s = time.perf_counter()
    try:
        status, body, retry_after = await _post(session, user)
    except (aiohttp.ClientError, TimeoutError) as error:
        load.wrong[type(error).__name__] += 1
        return None
    took_s = time.perf_counter() - sent_s
    if status == HTTPStatus.ACCEPTED:
        load.accepted.append(json.loads(body)["id"])
        load.accepted_s.append(took_s)
        return None
    if status == HTTPStatus.TOO_MANY_REQUESTS and retry_after.isdigit():
        load.refused_s.append(took_s)
        load.retry_after_s.append(float(retry_after))
        return float(retry_after)
    load.wrong[f"{status} {body[:200]!r}"] += 1
    return None


async def _obey(session: aiohttp.ClientSession, load: Load, number: int, seconds: float) -> None:
    """Ask again when a refusal says so, until accepted; then once more from the start."""
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        first_s, tries = time.monotonic(), 1
        while (pause_s := await _send(session, load, number)) is not None:
            tries += 1
            await asyncio.sleep(pause_s)
        if tries > 1:
            load.obeyed.append((time.monotonic() - first_s, tries))
        await asyncio.sleep(OBEDIENT_PAUSE_S)


async def _post(session: aiohttp.ClientSession, user: int) -> tuple[int, bytes, str]:
    body = NULL_JOB | {"prompt": f"hold {STAGE_C_S}", "user": f"user-{user}"}
    async with (
        asyncio.timeout(TIMEOUT_S),
        session.post("/v1/jobs", json=body) as answer,
    ):
        return answer.status, await answer.read(), answer.headers.get("Retry-After", "")


def _report(load: Load, settings: Settings) -> dict[str, Any]:
    """Return the outcome of a phase's requests; the ends of accepted jobs are in the database."""
    engine = open_engine(settings.database_url)
    with engine.connect() as connection:
        rows = {row.id: row for row in connection.execute(jobs.select())}
    engine.dispose()
    ended = [rows[job_id] for job_id in load.accepted if job_id in rows]
    well = [row for row in ended if row.state == "succeeded"]
    return {
        "accepted": len(load.accepted),
        "ended_well": len(well),
        "refused": len(load.refused_s),
        "wrong": dict(load.wrong),
        "accepted_s": percentiles(load.accepted_s),
        "job_s": percentiles([(row.finished_at - row.created_at).total_seconds() for row in well]),
        "refused_s": percentiles(load.refused_s) if len(load.refused_s) > 1 else None,
        "retry_after_s": summary(load.retry_after_s) if load.retry_after_s else None,
        "obeyed_s": summary([waited_s for waited_s, _ in load.obeyed]) if load.obeyed else None,
        "obeyed_tries": summary([tries for _, tries in load.obeyed]) if load.obeyed else None,
    }


def find_faults(phases: dict[str, Any]) -> list[str]:
    """Return the ways in which the service failed; empty for none."""
    faults = []
    for name, phase in phases.items():
        if phase["accepted"] != phase["ended_well"]:
            faults.append(f"{name}: {phase['accepted'] - phase['ended_well']} jobs did not succeed")
        if phase["wrong"]:
            faults.append(f"{name}: wrong answers {phase['wrong']}")
        for process, memory in phase["memory_mb"].items():
            if memory["late_growth"] > max(GROWTH_LIMIT_MB, GROWTH_LIMIT * memory["max"]):
                faults.append(f"{name}: {process} grows, {memory['late_growth']:.1f} MB lately")
    if phases["overload"]["refused"] == 0:
        faults.append("overload: nothing was refused")
    return faults


def _table(result: dict[str, Any]) -> str:
    phases = result["phases"].values()
    minutes = result["seconds_per_phase"] / 60
    rows: list[tuple[str, list[str]]] = [
        ("offered, per second", [f"{phase['offered_per_s']:.1f}" for phase in phases]),
        ("accepted", [str(phase["accepted"]) for phase in phases]),
        ("of them succeeded", [str(phase["ended_well"]) for phase in phases]),
        ("refused (429)", [str(phase["refused"]) for phase in phases]),
        ("other answers", [str(sum(phase["wrong"].values())) for phase in phases]),
        ("until a 202, p50 / p95 / p99", [percentiles_ms(phase["accepted_s"]) for phase in phases]),
        ("until a 429", [_or_dash(percentiles_ms, phase["refused_s"]) for phase in phases]),
        ("Retry-After", [_or_dash(_spread_s, phase["retry_after_s"]) for phase in phases]),
        ("accepted after, if obeyed", [_or_dash(_spread_s, phase["obeyed_s"]) for phase in phases]),
        ("requests it took", [_or_dash(_spread, phase["obeyed_tries"]) for phase in phases]),
        ("job, accepted to end, p50", [f"{phase['job_s']['p50']:.1f} s" for phase in phases]),
    ]
    lines = [
        f"| {minutes:g} minutes each, service rate {result['service_per_s']:.1f} jobs per second "
        f"| {BASELINE_LOAD:g} times the rate | {OVERLOAD:g} times |",
        "|---|---|---|",
        *(f"| {name} | {' | '.join(cells)} |" for name, cells in rows),
        "",
        f"| resident MB | before | most at {BASELINE_LOAD:g} times | most at {OVERLOAD:g} times "
        "| growth in its second half | after |",
        "|---|---|---|---|---|---|",
    ]
    for name, before_mb in result["memory_before_mb"].items():
        half, full = (phase["memory_mb"][name] for phase in phases)
        sizes = (before_mb, half["max"], full["max"])
        cells = [f"{size:.0f}" for size in sizes] + [f"{full['late_growth']:+.1f}"]
        lines.append(f"| {name} | {' | '.join(cells)} | {result['memory_after_mb'][name]:.0f} |")
    note = (
        "One Gateway, Jobs and replica per stage on SQLite; Stage C takes "
        f"{STAGE_C_S:g} s, B and A nothing; {USERS} users; no models, so no model's memory."
    )
    return "\n".join([*lines, "", note])


def _spread(values: dict[str, float]) -> str:
    return f"median {values['median']:.1f}, {values['min']:.1f}-{values['max']:.1f}"


def _spread_s(values: dict[str, float]) -> str:
    return f"{_spread(values)} s"


def _or_dash(show: Callable[[dict[str, float]], str], values: dict[str, float] | None) -> str:
    return "-" if values is None else show(values)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.service.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=4.0, help="of each of the two phases")
    return parser.parse_args()


if __name__ == "__main__":
    main()
