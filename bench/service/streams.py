"""A thousand clients that watch jobs at once, against one.

    python -m bench.service.streams

Jobs are held open; steps are noted in the database as the Jobs process does it, and each stream
records when it has received them. Meanwhile plain requests continue.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import psutil

from bench import processes
from bench.engine.null_stages import NULL_JOB
from bench.null_service import null_service
from bench.processes import resident_mb
from bench.service.load import ask, http_session
from bench.stats import machine, percentiles, percentiles_ms, write_result
from serve.jobs.event_notifier import EventNotifier, Gateways
from serve.jobs.progress.watched_jobs import WatchedJobs
from serve.local.running import APP_NAME
from serve.storage.database import Database
from serve.storage.records import ProgressStep

JOBS = 10
ROUNDS = 20
PAUSE_S = 0.3
PATIENCE_S = 120.0
PROBE_PAUSE_S = 0.05
IDLE_S = 5.0
WATCHED = ("Gateway", "proxy")


class Watcher:
    """Reads one job's event stream."""

    def __init__(self, session: aiohttp.ClientSession, job_id: str) -> None:
        self.job_id = job_id
        self.is_open = asyncio.Event()
        self._session = session
        self._steps: asyncio.Queue[tuple[int, float]] = asyncio.Queue()

    async def read(self) -> str:
        """Read to the end and return the last event's type."""
        path, event = f"/v1/jobs/{self.job_id}/events", ""
        async with self._session.get(path, raise_for_status=True) as answer:
            async for line in answer.content:
                name, _, value = line.decode().rstrip().partition(": ")
                if name == "event":
                    event = value
                    self.is_open.set()
                elif name == "data" and event == "progress":
                    self._steps.put_nowait((json.loads(value)["step"], time.perf_counter()))
        return event

    async def seen_s(self, step: int) -> float:
        """Return when a step came, earlier ones skipped."""
        while True:
            number, seen_s = await self._steps.get()
            if number == step:
                return seen_s


def main() -> None:
    """Start the service, measure one and many streams, stop it and write the result."""
    streams, where = _arguments().streams, machine()
    with null_service() as (running, settings):
        result = asyncio.run(_measure(running.url, Database(settings.database_url), streams))
    write_result("streams", {"machine": where} | result, _table(result))


async def _measure(url: str, database: Database, streams: int) -> dict[str, Any]:
    found = processes.one_of_each()
    watched = {name: found[name] for name in WATCHED}

    def memory_mb() -> dict[str, float]:
        return {name: round(resident_mb(process), 1) for name, process in watched.items()}

    tell = Gateways(APP_NAME).notify_of_events
    database.on_events = EventNotifier(tell, WatchedJobs()).notify
    async with http_session(url) as session:
        jobs = [await _held_job(session) for _ in range(JOBS)]
        runs, memory, cpu = {}, {"before": memory_mb()}, {}
        for turn, count in enumerate((1, streams)):
            begun_s = time.perf_counter()
            async with _watching(session, jobs, count) as (watchers, reading):
                opened_s, first_step = time.perf_counter() - begun_s, 1 + turn * ROUNDS
                delays = await _rounds(session, database, jobs, watchers, first_step)
                runs[str(count)] = {"opened_s": opened_s} | delays
                memory[f"with_{count}"] = memory_mb()
                cpu[str(count)] = await _idle_cpu(watched)
                if count == streams:
                    for job_id in jobs:
                        await ask(session, "DELETE", f"/v1/jobs/{job_id}", 200)
                    async with asyncio.timeout(PATIENCE_S):
                        ends = await asyncio.gather(*reading)
                    if set(ends) != {"cancelled"}:
                        raise RuntimeError("not every stream was told of its job's end")
        await asyncio.sleep(IDLE_S)
        memory["after"] = memory_mb()
    return {"streams": streams, "runs": runs, "memory_mb": memory, "idle_cpu_percent": cpu}


async def _held_job(session: aiohttp.ClientSession) -> str:
    body = NULL_JOB | {"prompt": "hold 3600"}
    job = json.loads(await ask(session, "POST", "/v1/jobs", 202, json=body))
    return str(job["id"])


@asynccontextmanager
async def _watching(
    session: aiohttp.ClientSession, jobs: Sequence[str], count: int
) -> AsyncIterator[tuple[list[Watcher], list[asyncio.Task[str]]]]:
    """Open streams, spread over the jobs, and close them in the end."""
    watchers = [Watcher(session, jobs[number % len(jobs)]) for number in range(count)]
    reading = [asyncio.create_task(watcher.read()) for watcher in watchers]
    try:
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*(watcher.is_open.wait() for watcher in watchers))
        yield watchers, reading
    finally:
        for task in reading:
            task.cancel()
        await asyncio.gather(*reading, return_exceptions=True)


async def _rounds(
    session: aiohttp.ClientSession,
    database: Database,
    jobs: Sequence[str],
    watchers: Sequence[Watcher],
    first_step: int,
) -> dict[str, Any]:
    """Note a step in every job, round by round; delays count from before the noting."""
    get_s: list[float] = []
    probing = asyncio.create_task(_probe(session, jobs[0], get_s))
    each, last = [], []
    for step in range(first_step, first_step + ROUNDS):
        noted_s = {}
        for job_id in jobs:
            noted_s[job_id] = time.perf_counter()
            told = ProgressStep(job_id, 0, "c", step, 1000)
            await asyncio.to_thread(database.jobs.record_progress, [told], {}, {})
        async with asyncio.timeout(PATIENCE_S):
            delays = [await watcher.seen_s(step) - noted_s[watcher.job_id] for watcher in watchers]
        each += delays
        last.append(max(delays))
        await asyncio.sleep(PAUSE_S)
    probing.cancel()
    await asyncio.gather(probing, return_exceptions=True)
    return {
        "delay_s": percentiles(each),
        "last_stream_s": percentiles(last),
        "get_s": percentiles(get_s),
    }


async def _probe(session: aiohttp.ClientSession, job_id: str, get_s: list[float]) -> None:
    """Ask for a job again and again and note how long each answer took."""
    while True:
        sent_s = time.perf_counter()
        await ask(session, "GET", f"/v1/jobs/{job_id}", 200)
        get_s.append(time.perf_counter() - sent_s)
        await asyncio.sleep(PROBE_PAUSE_S)


async def _idle_cpu(watched: dict[str, psutil.Process]) -> dict[str, float]:
    """Return the share of one core that each process takes while nothing happens."""
    for process in watched.values():
        process.cpu_percent()
    await asyncio.sleep(IDLE_S)
    return {name: process.cpu_percent() for name, process in watched.items()}


def _table(result: dict[str, Any]) -> str:
    many, memory = str(result["streams"]), result["memory_mb"]
    lines = [
        "| open event streams | 1 | " + f"{int(many):,} |",
        "|---|---|---|",
    ]
    opened = [f"{result['runs'][count]['opened_s']:.1f} s" for count in ("1", many)]
    lines.append(f"| until all are open, asked for at once | {' | '.join(opened)} |")
    labels = {
        "delay_s": "from a step to its event at a client, p50 / p95 / p99",
        "last_stream_s": "to the last of the clients",
        "get_s": "a plain GET meanwhile",
    }
    for key, label in labels.items():
        cells = [percentiles_ms(result["runs"][count][key]) for count in ("1", many)]
        lines.append(f"| {label} | {' | '.join(cells)} |")
    for name in WATCHED:
        cells = [f"{memory[f'with_{count}'][name]:.0f} MB" for count in ("1", many)]
        lines.append(f"| {name}, resident | {' | '.join(cells)} |")
        cells = [f"{result['idle_cpu_percent'][count][name]:.0f}%" for count in ("1", many)]
        lines.append(f"| {name}, of one core while nothing happens | {' | '.join(cells)} |")
    after = ", ".join(f"{name} {memory['after'][name]:.0f} MB" for name in WATCHED)
    return "\n".join(
        [
            *lines,
            "",
            f"Resident after all have left: {after}. Not measured: clients that read slowly.",
        ]
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.service.streams", description=__doc__)
    parser.add_argument("--streams", type=int, default=1000)
    return parser.parse_args()


if __name__ == "__main__":
    main()
