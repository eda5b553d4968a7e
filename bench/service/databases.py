"""The service with stages that do nothing, on SQLite and on PostgreSQL.

    python -m bench.service.databases

PostgreSQL runs on this machine with its own durability. Its statements and transactions per job
are counted there, and the time for which a job holds the lock of admission is computed from them
for a database in a network: that lock is the one thing that all jobs of an installation share.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from sqlalchemy import Engine, create_engine, event
from ulid import ULID

from bench import processes
from bench.baseline.load import Client
from bench.engine.null_stages import NULL_JOB
from bench.null_service import null_service
from bench.service.load import http_session
from bench.stats import machine, summary, write_result
from cascade_core.families.stable_cascade import STABLE_CASCADE
from cascade_core.request import GenerationRequest
from serve.storage.database import Database
from serve.storage.records import JobIdentity, JobOwner, NewJob, OpenLimits, PlannedImage
from tests.private_postgres import PrivatePostgres, find_binaries, running

CLIENTS, ROUNDS, ROUND_S = 16, 5, 8.0
ROUND_TRIP_S, COMMIT_S = 0.5e-3, 1.5e-3
"""Of a database in the same zone with replicated storage."""
TARGET_PER_S = 150
LOCK: Final = "pg_advisory_xact_lock"
_COUNTED: Final = "-c shared_preload_libraries=pg_stat_statements -c pg_stat_statements.track=all"
_CONTROL: Final = ("BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE", "SET")


class Counters:
    """What a PostgreSQL server has counted, in all of its databases.

    Args:
        url: of one of them.
    """

    def __init__(self, url: str) -> None:
        self._engine = create_engine(url, isolation_level="AUTOCOMMIT")
        with self._engine.connect() as connection:
            connection.exec_driver_sql("CREATE EXTENSION pg_stat_statements")

    def read(self) -> dict[str, int]:
        """Return statements, locks, commits and transactions that wrote, until now."""
        query = "SELECT query, calls FROM pg_stat_statements"
        with self._engine.connect() as connection:
            calls = list(connection.exec_driver_sql(query))
            written = connection.exec_driver_sql("SELECT pg_current_xact_id()::text").scalar_one()
        named = [(text.lstrip().upper(), count) for text, count in calls]
        return {
            "statements": sum(count for text, count in named if not text.startswith(_CONTROL)),
            "commits": sum(count for text, count in named if text.startswith("COMMIT")),
            "writing_transactions": int(written),
            "locks": sum(count for text, count in named if LOCK.upper() in text),
        }


def main() -> None:
    """Run the service on both databases and write the result."""
    binaries, where = find_binaries(), machine()
    if binaries is None:
        sys.exit("PostgreSQL is not installed; get it with: apt-get install postgresql")
    with null_service() as (service, _):
        loads = {"SQLite": asyncio.run(_load(service.url, dict))}
    with running(binaries, _COUNTED) as server:
        url = server.new_database()
        counters = Counters(url)
        with null_service(database_url=url) as (service, _):
            loads["PostgreSQL"] = asyncio.run(_load(service.url, counters.read))
        held = _statements_under_lock(server)
    result = {"machine": where, "loads": loads, "statements_under_lock": held}
    write_result("databases", result, _table(result))


async def _load(url: str, count: Callable[[], dict[str, int]]) -> dict[str, Any]:
    """Measure rounds of many clients; what ``count`` returns is per job of all rounds."""
    per_s, cpu_s, jobs = [], [], 0
    async with http_session(url) as session:
        client = Client(session, NULL_JOB, fetches=False)
        await client.one_after_another(5)  # warm-up
        alone_s = await client.one_after_another(50)
        before = count()
        for _ in range(ROUNDS):
            service = [process for _, process in processes.running()]
            loaded = await client.at_once(CLIENTS, ROUND_S, service)
            per_s.append(loaded["per_s"])
            cpu_s.append(loaded["cpu_s"])
            jobs += loaded["jobs"]
        after = count()
    return {
        "alone_s": summary(alone_s),
        "per_s": summary(per_s),
        "cpu_s": summary(cpu_s),
        "counted": {name: (after[name] - before[name]) / jobs for name in after},
    }


def _statements_under_lock(server: PrivatePostgres) -> int:
    """Return how many statements accepting a job makes between the lock and the commit."""
    database = Database(server.new_database())
    database.create_tables()
    limits = OpenLimits(total=1000, per_user=1000, min_deadline_s=60.0)
    with _statements() as made:
        database.jobs.insert(_new_job(), limits)
    database.close()
    places = [place for place, text in enumerate(made) if LOCK in text]
    return len(made) - 1 - places[0] if places else 0


@contextmanager
def _statements() -> Iterator[list[str]]:
    """Collect the statements of all engines of this process."""
    made: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        made.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield made
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def _new_job() -> NewJob:
    request = GenerationRequest(**NULL_JOB, seed=1, decoder_seed=1)
    image = PlannedImage(id=str(ULID()), index=0, latent_id=str(ULID()), seed=1, decoder_seed=1)
    return NewJob(
        identity=JobIdentity(str(ULID()), None, ""),
        request=request,
        client_state=None,
        owner=JobOwner(None, None),
        images=(image,),
        family=STABLE_CASCADE,
    )


def _table(result: dict[str, Any]) -> str:
    lines = [
        f"| jobs with null stages, {CLIENTS} clients | one alone | per second (least-most) "
        "| CPU time of a job |",
        "|---|---|---|---|",
    ]
    for name, load in result["loads"].items():
        per_s, alone_ms = load["per_s"], load["alone_s"]["median"] * 1e3
        rate = f"{per_s['median']:.1f} ({per_s['min']:.1f}-{per_s['max']:.1f})"
        lines.append(
            f"| {name} | {alone_ms:.0f} ms | {rate} | {load['cpu_s']['median'] * 1e3:.0f} ms |"
        )
    counted, held = result["loads"]["PostgreSQL"]["counted"], result["statements_under_lock"]
    held_s = held * ROUND_TRIP_S + COMMIT_S
    lines += [
        "",
        "| PostgreSQL, a job of one image, nothing watching | measured | target |",
        "|---|---|---|",
        f"| statements | {counted['statements']:.1f} | |",
        f"| commits; of transactions that wrote | {counted['commits']:.1f}; "
        f"{counted['writing_transactions']:.1f} | |",
        f"| takes the lock of admission | {counted['locks']:.1f} times, for {held} statements | |",
        f"| jobs per second that this lock allows | {1 / held_s:.0f} | >= {TARGET_PER_S} |",
        "",
        f"The last row is computed: {ROUND_TRIP_S * 1e3:g} ms a round trip, {COMMIT_S * 1e3:g} ms "
        "a commit. Statements and commits include those of DBOS and of the loops that run beside "
        "jobs. Not measured: a database in a network, its replicas, several Jobs processes.",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
