"""When clients see a composition and its latent, where a checker looks first."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from dbos import DBOS, SetWorkflowID

from serve.jobs.dispatch.stage_client import OnCrash, OnMessage, StageResult
from serve.storage.blobs.blob_store import BlobStore
from serve.storage.database import Database
from serve.storage.records import NewJob
from tests.limits import HANG_S
from tests.serve.checkers import Answering
from tests.serve.null_stages import Previewer, Stage, launched, make_dispatcher, run_to_end
from tests.serve.waiting import until

JobMaker = Callable[..., NewJob]


class Held(Previewer):
    """Draws nothing until it is stopped."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = asyncio.Event()

    async def call(self, latent: bytes, *, on_message: OnMessage, on_crash: OnCrash) -> StageResult:
        self.begun.set()
        await asyncio.Event().wait()
        raise AssertionError("the event is never set")


@pytest.mark.parametrize("stop_after", [None, "c"])
async def test_a_composition_is_not_shown_before_its_check_nor_after_its_job_was_cancelled_then(
    stop_after: str | None,
    database: Database,
    database_url: str,
    blobs: BlobStore,
    make_job: JobMaker,
    stages: dict[str, Stage],
) -> None:
    job, previewer, checker = make_job(stop_after=stop_after), Held(), Answering()
    calls = make_dispatcher(database, stages, previewer=previewer)
    latent_id = job.images[0].latent_id
    database.jobs.insert(job)
    async with (
        asyncio.timeout(HANG_S),
        launched(database, database_url, blobs, stages, [checker], calls=calls) as workflow,
    ):
        with SetWorkflowID(job.id):
            handle = await DBOS.start_workflow_async(workflow.run, job.id)
        await previewer.begun.wait()
        await until(lambda: database.images.latent(latent_id) is not None)
        assert shown_compositions(database, job.id, latent_id) == ([], False)
        assert database.jobs.finish(job.id, "cancelled")
        workflow.cancel(job.id)
        await handle.get_result()
    assert checker.seen == []
    assert shown_compositions(database, job.id, latent_id) == ([], False)


def shown_compositions(
    database: Database, job_id: str, latent_id: str
) -> tuple[list[dict[str, Any]], bool]:
    """Return what a job lists, and whether a client may have this latent."""
    job = database.jobs.get(job_id)
    assert job is not None
    return job.to_json().get("compositions", []), job.shows_latent(latent_id)


async def test_of_a_draft_whose_checker_fails_only_what_passed_is_shown(
    database: Database,
    database_url: str,
    blobs: BlobStore,
    make_job: JobMaker,
    stages: dict[str, Stage],
) -> None:
    may_fail = threading.Event()

    def answer(seed: int) -> None:
        if seed == 8:
            may_fail.wait(HANG_S)
            raise RuntimeError("the checker is down")

    job = make_job(n=2, stop_after="c")

    def has_passed() -> bool:
        found = database.jobs.get(job.id)
        return found is not None and found.shows_latent(job.images[0].latent_id)

    async with (
        asyncio.timeout(HANG_S),
        launched(database, database_url, blobs, stages, [Answering(answer)]) as workflow,
    ):
        running = asyncio.create_task(run_to_end(workflow, database, job))
        await until(has_passed)
        may_fail.set()
        ended = await running
    assert (ended.state, (ended.error or {})["code"]) == ("failed", "moderation_failed")
    assert [one["index"] for one in ended.to_json()["compositions"]] == [0]
    assert [ended.shows_latent(image.latent_id) for image in job.images] == [True, False]
