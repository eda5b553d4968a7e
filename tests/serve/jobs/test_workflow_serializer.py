"""DBOS' records of workflows: JSON of values and our errors; a pickle among them runs nothing."""

from __future__ import annotations

import asyncio
import base64
import pickle
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from dbos import DBOS, SetWorkflowID
from dbos import error as dbos_error
from dbos._schemas.system_database import SystemSchema
from sqlalchemy import Engine, create_engine, select, update

from cascade_core.errors import CascadeError, Internal, NotReady, StageLost, all_errors
from serve.jobs.dispatch.stage_client import OnCrash, OnMessage, StageResult
from serve.jobs.recovery import start_orphaned
from serve.jobs.workflow import JobWorkflow
from serve.jobs.workflow_serializer import JsonSerializer, RecordUnreadable
from serve.storage.blobs.blob_store import BlobStore
from serve.storage.database import Database
from serve.storage.records import NewJob
from tests.limits import HANG_S
from tests.serve.null_stages import Stage, launched

PICKLE = "py_pickle"
JobMaker = Callable[..., NewJob]
serializer = JsonSerializer()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, new_database_url: Callable[[str], str]) -> str:
    return new_database_url(request.param)


@pytest.fixture(autouse=True)
def no_job_is_too_young(monkeypatch: pytest.MonkeyPatch) -> None:
    """No process of a test is about to start a job that it has recorded."""
    monkeypatch.setattr("serve.jobs.recovery.ORPHANED_AFTER", timedelta())


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        0,
        0.25,
        "01ARZ3",
        "\0\ud800 \u202e",
        [1, ["a"]],
        {"args": ["id", 3]},
        {"args": ("0001", 2), "kwargs": {}},
    ],
)
def test_values_come_back_as_they_were(value: Any) -> None:
    assert serializer.deserialize(serializer.serialize(value)) == value


@pytest.mark.parametrize("error", all_errors().values())
def test_every_error_of_ours_comes_back_as_it_was(error: type[CascadeError]) -> None:
    back = serializer.deserialize(serializer.serialize(error("it is so", "width")))
    assert type(back) is error
    assert (back.message, back.field) == ("it is so", "width")


def test_another_error_comes_back_as_ours_without_its_words() -> None:
    back = serializer.deserialize(serializer.serialize(KeyError("secret")))
    assert type(back) is Internal
    assert "secret" not in str(back)


def test_an_error_of_the_engine_comes_back_as_one_that_may_pass() -> None:
    assert (
        type(serializer.deserialize(serializer.serialize(dbos_error.DBOSException("x"))))
        is NotReady
    )


@pytest.mark.parametrize("value", [object(), b"bytes", {1, 2}, float("nan"), Path("a")])
def test_values_that_json_does_not_have_are_refused(value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        serializer.serialize(value)


@pytest.mark.parametrize(
    "text",
    ["", "gASVBQAAAAAAAABdlC4=", "[]", "{}", '{"value": 1, "more": 2}', '{"error": 1}', "[" * 9999],
)
def test_texts_that_it_did_not_write_are_refused(text: str) -> None:
    with pytest.raises(RecordUnreadable):
        serializer.deserialize(text)


class Endless(Stage):
    """A stage that only the end of its process ends."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.begun = asyncio.Event()

    async def call(self, *args: Any, on_message: OnMessage, on_crash: OnCrash) -> StageResult:
        self.begun.set()
        await asyncio.Event().wait()
        raise AssertionError("the event is never set")


class Failing(Stage):
    """A stage whose first call fails."""

    def __init__(self, name: str, error: Exception) -> None:
        super().__init__(name)
        self._error = error

    async def call(self, *args: Any, on_message: OnMessage, on_crash: OnCrash) -> StageResult:
        result = await super().call(*args, on_message=on_message, on_crash=on_crash)
        if self.calls == 1:
            raise self._error
        return result


class Touches:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self._path,))


def pickled(value: Any) -> str:
    return base64.b64encode(pickle.dumps(value)).decode()


def tables_of(database_url: str) -> Engine:
    """Return an engine for DBOS' own tables."""
    schema = None if database_url.startswith("sqlite") else "dbos"
    placeholder = SystemSchema.workflow_status.schema
    options = {"schema_translate_map": {placeholder: schema}}
    return create_engine(database_url, execution_options=options)


def write_pickles(database_url: str, evil: Touches, *, says_so: bool) -> None:
    """Put a pickle where DBOS keeps inputs and outputs; the row may say that it is one."""
    engine, names = tables_of(database_url), {"serialization": PICKLE} if says_so else {}
    status, steps = SystemSchema.workflow_status, SystemSchema.operation_outputs
    with engine.begin() as connection:
        connection.execute(update(steps).values(output=pickled(evil), error=None, **names))
        inputs = pickled({"args": (evil,), "kwargs": {}})
        connection.execute(update(status).values(inputs=inputs, **names))
        connection.execute(update(SystemSchema.workflow_input).values(inputs=inputs))
    engine.dispose()


async def until_ended(database: Database, workflow: JobWorkflow, job: NewJob) -> None:
    """Look for stranded jobs, as the Jobs process does, until the job has ended."""

    async def start(job_id: str) -> None:
        with SetWorkflowID(job_id):
            await DBOS.start_workflow_async(workflow.run, job_id)

    while await asyncio.to_thread(database.jobs.is_open, job.id):
        await start_orphaned(database, start)
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("says_so", [True, False])
def test_a_pickle_in_the_tables_runs_nothing_and_its_job_is_taken_up_from_our_own_records(
    database: Database,
    database_url: str,
    blobs: BlobStore,
    make_job: JobMaker,
    tmp_path: Path,
    records: list[dict[str, Any]],
    n: int,
    says_so: bool,
) -> None:
    stages = {name: Stage(name) for name in ("c", "b", "a")}
    job, touched = make_job(n=n), tmp_path / "touched"
    database.jobs.insert(job)

    async def interrupted() -> None:
        endless = Endless("b")
        async with launched(database, database_url, blobs, stages | {"b": endless}) as workflow:
            with SetWorkflowID(job.id):
                await DBOS.start_workflow_async(workflow.run, job.id)
            await endless.begun.wait()
            for image in job.images:  # they are stored while Stage B runs
                stored = None
                while stored is None:
                    stored = await asyncio.to_thread(database.images.latent, image.latent_id)

    async def resumed() -> None:
        async with launched(database, database_url, blobs, stages) as workflow:
            await until_ended(database, workflow, job)

    asyncio.run(asyncio.wait_for(interrupted(), HANG_S))
    write_pickles(database_url, Touches(touched), says_so=says_so)
    asyncio.run(asyncio.wait_for(resumed(), HANG_S))
    ended = database.jobs.get(job.id)
    assert ended is not None
    assert (ended.state, ended.error) == ("succeeded", None)
    assert [stages["c"].calls, stages["a"].calls] == [n, n]
    assert not touched.exists()
    if says_so:
        assert any("is a pickle; it is not read" in line["message"] for line in records)


async def test_nothing_that_a_job_leaves_in_the_tables_is_a_pickle(
    database: Database, database_url: str, blobs: BlobStore, make_job: JobMaker
) -> None:
    failing, good = make_job(), make_job(n=2)
    stages = {"c": Stage("c"), "b": Failing("b", StageLost("it died")), "a": Stage("a")}
    async with launched(database, database_url, blobs, stages) as workflow:
        for job in (failing, good):
            database.jobs.insert(job)
            await until_ended(database, workflow, job)
    engine = tables_of(database_url)
    with engine.connect() as connection:
        for table in (SystemSchema.workflow_status, SystemSchema.operation_outputs):
            written = set(connection.execute(select(table.c.serialization)).scalars())
            assert written <= {"cascade_json", None}
    engine.dispose()


@pytest.mark.parametrize("n", [1, 2])
async def test_an_error_of_the_engine_starts_the_job_anew(
    database: Database, database_url: str, blobs: BlobStore, make_job: JobMaker, n: int
) -> None:
    stages = {
        "c": Stage("c"),
        "b": Failing("b", dbos_error.DBOSException("no such step")),
        "a": Stage("a"),
    }
    job = make_job(n=n)
    async with launched(database, database_url, blobs, stages) as workflow:
        database.jobs.insert(job)
        await until_ended(database, workflow, job)
    ended = database.jobs.get(job.id)
    assert ended is not None
    assert (ended.state, stages["c"].calls, stages["a"].calls) == ("succeeded", n, n)


async def test_an_error_of_a_child_workflow_keeps_its_code(
    database: Database, database_url: str, blobs: BlobStore, make_job: JobMaker
) -> None:
    stages = {"c": Stage("c"), "b": Failing("b", StageLost("it died")), "a": Stage("a")}
    job = make_job(n=2)
    async with launched(database, database_url, blobs, stages) as workflow:
        database.jobs.insert(job)
        await until_ended(database, workflow, job)
    ended = database.jobs.get(job.id)
    assert ended is not None
    assert ended.error == {"code": "stage_lost", "message": "it died"}
