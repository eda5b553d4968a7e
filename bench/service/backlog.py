"""The cost of accepting a job and of showing one, by the number of jobs that are open already.

    python -m bench.service.backlog
    python -m bench.service.backlog --database-url postgresql://...  # an empty database

The stores are called as by Jobs, which accepts, and by a gateway, which shows. Each of them reads
the queue anew once a second at most while many jobs are open; that is measured apart, too.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import insert, select
from ulid import ULID

from bench.engine.null_stages import NULL_JOB
from bench.service.chaos import scratch_settings
from bench.stats import machine, milliseconds, summary, write_result
from cascade_core.families.stable_cascade import STABLE_CASCADE
from cascade_core.request import GenerationRequest
from serve.storage.database import Database
from serve.storage.job_queue.estimates import QueueEstimates
from serve.storage.records import JobIdentity, JobOwner, NewJob, OpenLimits, PlannedImage
from serve.storage.schema.tables import jobs

OPEN_JOBS = (5, 500, 5000)
REPEATS = 100
WARM_UP = 5
USERS, ENDED_JOBS = 100, 20
TARGET_RATIO = 2.0
NO_LIMIT = OpenLimits(total=1_000_000, per_user=1_000_000)
NAMES = {
    "accept": "accepting a job",
    "show": "showing an open job",
    "read": "reading the queue anew",
}


def main() -> None:
    """Fill a database step by step, measure at each step and write the result."""
    database_url, where = _arguments().database_url, machine()
    with tempfile.TemporaryDirectory() as folder:
        url = scratch_settings(Path(folder), database_url).database_url
        accepting, showing = Database(url), Database(url)
        accepting.create_tables()
        rows = _measure(accepting, showing)
        accepting.close()
        showing.close()
    kind = url.partition(":")[0]
    result = {"machine": where, "users": USERS, "open_jobs": rows}
    name = "backlog" if kind == "sqlite" else "backlog_postgresql"
    write_result(name, result, _table(rows, kind))


def _measure(accepting: Database, showing: Database) -> dict[str, dict[str, Any]]:
    for _ in range(ENDED_JOBS):  # so that estimates know a pace
        job_id = _accept(accepting)
        accepting.jobs.record_progress([], {job_id: 0.0}, {})
        accepting.jobs.finish(job_id, "succeeded")
    shown_id, rows = _accept(accepting), {}
    for count in OPEN_JOBS:
        _fill(accepting, shown_id, count)
        rows[str(count)] = {
            "accept": _cost(lambda: _accept(accepting), _cancel_in(accepting)),
            "show": _cost(lambda: showing.jobs.get(shown_id)),
            "read": _cost(lambda: _read_anew(showing)),
        }
    return rows


def _fill(database: Database, job_id: str, count: int) -> None:
    """Copy a job's row until so many are open, of many users; copies have no images and events."""
    missing = count - len(database.jobs.open_ids())
    with database.writing() as connection:
        query = select(jobs).where(jobs.c.id == job_id)
        row = dict(connection.execute(query).mappings().one())
        new = ({"id": str(ULID()), "user": f"user {n % USERS}"} for n in range(missing))
        connection.execute(insert(jobs), [row | values for values in new])


def _accept(database: Database) -> str:
    request = GenerationRequest(**NULL_JOB, seed=1, decoder_seed=1)
    image = PlannedImage(str(ULID()), 0, str(ULID()), seed=1, decoder_seed=1)
    identity, owner = JobIdentity(str(ULID()), None, "digest"), JobOwner(None, "new user")
    job = NewJob(identity, request, None, owner, (image,), STABLE_CASCADE)
    database.jobs.insert(job, NO_LIMIT)
    return job.id


def _cancel_in(database: Database) -> Callable[[Any], object]:
    return lambda job_id: database.jobs.finish(job_id, "cancelled")


def _read_anew(database: Database) -> None:
    with database.reading() as connection:
        QueueEstimates().read(connection)


def _cost(do: Callable[[], Any], then: Callable[[Any], object] = bool) -> dict[str, Any]:
    """Measure calls of ``do``; what each returns goes to ``then``, which is not measured."""
    cpu_s, wall_s = [], []
    for _ in range(WARM_UP + REPEATS):
        begun_cpu_s, begun_s = time.process_time(), time.perf_counter()
        made = do()
        cpu_s.append(time.process_time() - begun_cpu_s)
        wall_s.append(time.perf_counter() - begun_s)
        then(made)
    return {"cpu_s": summary(cpu_s[WARM_UP:]), "wall_s": summary(wall_s[WARM_UP:])}


def _ratio(rows: dict[str, Any], name: str) -> float:
    """Return the CPU time with the most open jobs over that with the fewest."""
    ends = OPEN_JOBS[0], OPEN_JOBS[-1]
    few_s, many_s = (rows[str(count)][name]["cpu_s"]["median"] for count in ends)
    return float(many_s / few_s)


def _table(rows: dict[str, Any], kind: str) -> str:
    lines = [
        f"| {kind} | open jobs | CPU, median (p25-p75) | longest | wall, median (p25-p75) |",
        "|---|---|---|---|---|",
    ]
    for name, label in NAMES.items():
        for count in OPEN_JOBS:
            cpu_s, wall_s = (rows[str(count)][name][which] for which in ("cpu_s", "wall_s"))
            lines.append(
                f"| {label} | {count} | {milliseconds(cpu_s)} | {cpu_s['max'] * 1e3:.1f} ms "
                f"| {milliseconds(wall_s)} |"
            )
    fewest, most = OPEN_JOBS[0], OPEN_JOBS[-1]
    lines += ["", f"| CPU, {most} jobs open over {fewest} | measured | target |", "|---|---|---|"]
    for name in ("accept", "show"):
        lines.append(f"| {NAMES[name]} | {_ratio(rows, name):.2f} | <= {TARGET_RATIO:g} |")
    note = (
        f"{REPEATS} calls of the stores each, one at a time, by one process that does nothing "
        "else. Not measured: HTTP, calls at the same time, the CPU of a database server."
    )
    return "\n".join([*lines, "", note])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.service.backlog", description=__doc__)
    parser.add_argument("--database-url", default="", help="PostgreSQL instead of SQLite")
    return parser.parse_args()


if __name__ == "__main__":
    main()
