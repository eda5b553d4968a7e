"""Where the CPU time of Jobs and Gateway goes: ``python -m bench.service.cpu_profile``.

Clients create jobs whose stages do nothing, and wait for them, while py-spy samples both processes.
A sample counts for the library whose code is nearest to where it runs; the standard library counts
for its caller. What runs outside Python, such as Ray's own threads, has no samples.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any, Final

import psutil

from bench.null_service import null_service
from bench.processes import one_of_each
from bench.service.load import ask, closed_loop, http_session
from bench.stats import machine, write_result

PROCESSES: Final = ("Jobs", "Gateway")
CLIENTS: Final = 16
WARM_UP_S, MEASURED_S = 5.0, 30.0
SAMPLES_PER_S: Final = 100
LIBRARIES: Final = {
    "ray": "Ray",
    "dbos": "DBOS",
    "sqlalchemy": "SQLAlchemy and its driver",
    "fastapi": "FastAPI, Starlette, uvicorn",
    "starlette": "FastAPI, Starlette, uvicorn",
    "uvicorn": "FastAPI, Starlette, uvicorn",
    "pydantic": "Pydantic",
    "serve": "Cascade Serve",
    "cascade_core": "Cascade Serve",
}
STANDARD: Final = "the standard library's own threads"
_FILE: Final = re.compile(r"\((?P<file>[^():]+)")
_BODY: Final = {"prompt": "a red circle"}


def main() -> None:
    """Measure and write the result."""
    where = machine()
    with null_service() as (running, _):
        jobs, cpu_s, samples = asyncio.run(_loaded(running.url))
    processes = {
        name: {"cpu_s": cpu_s[name] / jobs, "shares": shares(samples[name])} for name in PROCESSES
    }
    result = {"machine": where, "clients": CLIENTS, "jobs": jobs, "processes": processes}
    write_result("cpu_profile", result, table(result))


async def _loaded(url: str) -> tuple[int, dict[str, float], dict[str, list[str]]]:
    """Return the jobs done, each process's CPU seconds, and the stacks that py-spy saw."""
    async with http_session(url) as session:
        headers = {"prefer": "wait=30"}
        create = partial(ask, session, "POST", "/v1/jobs", 200, json=_BODY, headers=headers)
        await closed_loop(create, CLIENTS, WARM_UP_S)
        found = one_of_each()
        processes = {name: found[name] for name in PROCESSES}
        with tempfile.TemporaryDirectory() as folder:
            before_s = {name: _cpu_s(process) for name, process in processes.items()}
            files = {name: Path(folder) / name for name in processes}
            samplers = [_sampler(processes[name], files[name]) for name in processes]
            samples_s, _ = await closed_loop(create, CLIENTS, MEASURED_S)
            cpu_s = {name: _cpu_s(processes[name]) - before_s[name] for name in processes}
            for sampler in samplers:
                if await asyncio.to_thread(sampler.wait):
                    raise RuntimeError("py-spy failed: it needs the right to trace processes")
            stacks = {name: file.read_text().splitlines() for name, file in files.items()}
    return len(samples_s), cpu_s, stacks


def _cpu_s(process: psutil.Process) -> float:
    return float(sum(process.cpu_times()[:2]))


def _sampler(process: psutil.Process, file: Path) -> subprocess.Popen[bytes]:
    program = shutil.which("py-spy", path=str(Path(sys.executable).parent)) or "py-spy"
    options = ["--gil", "--format", "raw", "--rate", str(SAMPLES_PER_S), "--output", str(file)]
    pid, seconds = str(process.pid), str(int(MEASURED_S) - 1)
    return subprocess.Popen(
        [program, "record", *options, "--duration", seconds, "--pid", pid],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def shares(stacks: Iterable[str]) -> dict[str, float]:
    """Return each library's part of the samples, the largest first.

    Args:
        stacks: lines of frames from the outermost to the innermost, ``name (file:line)`` each and
            joined by ``;``, then a space and how often py-spy saw this stack.
    """
    found: Counter[str] = Counter()
    for stack in stacks:
        frames, _, count = stack.rpartition(" ")
        found[library(frames)] += int(count)
    return {name: count / found.total() for name, count in found.most_common()}


def library(frames: str) -> str:
    """Return the library whose code is innermost in a stack."""
    for frame in reversed(frames.split(";")):
        place = _FILE.search(frame)
        package = place["file"].split("/")[0] if place else ""
        if package in LIBRARIES:
            return LIBRARIES[package]
    return STANDARD


def table(result: dict[str, Any]) -> str:
    """Return the shares as a Markdown table."""
    processes = result["processes"]
    names = sorted({name for one in processes.values() for name in one["shares"]})
    names.sort(key=lambda name: -max(one["shares"].get(name, 0.0) for one in processes.values()))
    lines = [
        "| samples by library | " + " | ".join(processes) + " |",
        "|---" * (len(processes) + 1) + "|",
    ]
    for name in names:
        parts = " | ".join(f"{one['shares'].get(name, 0.0):.0%}" for one in processes.values())
        lines.append(f"| {name} | {parts} |")
    times = " | ".join(f"{one['cpu_s'] * 1e3:.0f} ms" for one in processes.values())
    lines.append(f"| CPU time, a job, under py-spy | {times} |")
    note = (
        f"{result['clients']} clients, {result['jobs']} jobs whose stages do nothing. Samples of "
        "the thread that holds Python's lock. Not measured: threads outside Python, such as Ray's."
    )
    return "\n".join([*lines, "", note])


if __name__ == "__main__":
    main()
