"""Jobs redone, in both databases: seeds, parts, repeated requests, limits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import update

from cascade_core.errors import Conflict, IdempotencyMismatch, NotFound, RateLimited
from cascade_core.job_states import TERMINAL_STATES
from cascade_core.operations.fields import MAX_SEED
from serve.storage.database import Database
from serve.storage.job_parts.parts import CONTINUED, FIRST, job_of_run, run_id
from serve.storage.job_parts.redo import MAX_REDOS
from serve.storage.job_parts.rejection import Rejection
from serve.storage.records import ImageRow, NewJob, OpenJob, OpenLimits, ProgressStep
from serve.storage.schema.tables import images
from tests.serve.recorded_jobs import add, body
from tests.serve.storage.job_parts.drafts import (
    DAY,
    LIMITS,
    chosen,
    drafted,
    redone,
    rested,
    set_columns,
    types,
)

JobMaker = Callable[..., NewJob]


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, new_database_url: Callable[[str], str]) -> str:
    return new_database_url(request.param)


def images_of(database: Database, job_id: str) -> tuple[ImageRow, ...]:
    job = database.jobs.get(job_id)
    assert job is not None
    return job.images


def opened(database: Database, job_id: str) -> OpenJob:
    job = database.jobs.open_job(job_id)
    assert job is not None
    return job


def test_a_redone_job_is_queued_with_other_seeds_and_keeps_what_it_had(
    database: Database, make_job: JobMaker
) -> None:
    job = make_job(n=3, stop_after="c", seed=7, decoder_seed=MAX_SEED - 3)
    drafted(database, job)
    before = images_of(database, job.id)
    assert database.waiting.redo(redone(job, 0, 2), LIMITS) == "redo-1"
    after, shown = opened(database, job.id), body(database, job.id)
    assert (shown["state"], shown["position"], shown["started_at"]) == ("queued", 0, None)
    assert [image.seed for image in after.images] == [10, 8, 12]
    assert [image.decoder_seed for image in after.images] == [MAX_SEED, MAX_SEED - 2, 1]
    assert after.request_of(2) == replace(after.request, n=6).for_image(5)
    assert [image.redo_count for image in after.images] == [1, 0, 1]
    assert [a.latent_id == b.latent_id for a, b in zip(after.images, before, strict=True)] == [
        *(False, True, False)
    ]
    (redo,) = shown["redone"]
    earlier = [(one["index"], one["seed"], one["latent_id"]) for one in redo["compositions"]]
    assert earlier == [(i, before[i].seed, before[i].latent_id) for i in (0, 2)]
    assert shown["request"] == job.request.to_dict()
    assert shown["continued"] is None
    assert types(database, job.id) == ["queued", "progress", "queued"]
    assert database.jobs.runnable_ids(timedelta()) == [run_id(job.id, "redo-1")]
    assert job_of_run(run_id(job.id, "redo-1")) == (job.id, "redo-1")


def test_a_job_is_redone_again_and_then_continued(database: Database, make_job: JobMaker) -> None:
    job = make_job(n=2, stop_after="c", seed=7)
    drafted(database, job)
    assert database.waiting.redo(redone(job, 1), LIMITS) == "redo-1"
    assert not rested(database, job.id, FIRST)
    assert rested(database, job.id, "redo-1")
    assert database.waiting.redo(redone(job, 1, key="later"), LIMITS) == "redo-2"
    assert not rested(database, job.id, "redo-1")
    assert not database.jobs.finish(job.id, "failed", part="redo-1")
    assert [image.seed for image in images_of(database, job.id)] == [7, 12]
    assert rested(database, job.id, "redo-2")
    assert types(database, job.id)[-1] == "waiting"
    assert database.waiting.resume(chosen(job, 1), LIMITS) == CONTINUED
    assert opened(database, job.id).part == CONTINUED
    assert opened(database, job.id).request_of(1).seed == 12
    assert database.jobs.finish(job.id, "succeeded", part=CONTINUED)


def test_what_a_redo_did_not_compose_has_what_it_had_before(
    database: Database, make_job: JobMaker
) -> None:
    job = make_job(n=3, stop_after="c", seed=7)
    drafted(database, job)
    before = images_of(database, job.id)
    assert database.waiting.redo(redone(job, 0, 2), LIMITS)
    with database.writing() as connection:
        made = images.c.job_id == job.id, images.c.index == 2
        connection.execute(update(images).where(*made).values(preview="another"))
    assert database.waiting.begin(job.id, DAY, "redo-1")
    after, shown = images_of(database, job.id), body(database, job.id)
    assert after[0] == replace(before[0], redo_count=1)
    assert after[1] == before[1]
    assert (after[2].seed, after[2].preview) == (12, "another")
    assert [one["index"] for one in shown["redone"][0]["compositions"]] == [2]
    assert database.waiting.redo(redone(job, 0, 2), LIMITS) is None
    assert database.waiting.redo(redone(job, 0, key="later"), LIMITS) == "redo-2"


def test_what_a_later_release_keeps_of_redos_and_rejections_is_left_out(
    database: Database, make_job: JobMaker
) -> None:
    job, added = make_job(n=2, stop_after="c"), {"added_later": 1}
    drafted(database, job)
    database.waiting.redo(redone(job, 1), LIMITS)
    before = body(database, job.id)
    [redo] = opened(database, job.id).redos
    stored = redo.to_stored() | added
    stored["replaced"] = [stored["replaced"][0] | added]
    rejection = Rejection(0, "blank", 3, 4, FIRST)
    rejections = [rejection.to_stored() | added]
    set_columns(database, job.id, redos=[stored], rejections=rejections)
    assert body(database, job.id) == before | {"rejected": [rejection.to_json()]}
    assert database.waiting.begin(job.id, DAY, "redo-1")
    assert [image.seed for image in images_of(database, job.id)] == [7, 8]


def test_a_request_to_redo_that_is_sent_again_changes_nothing(
    database: Database, make_job: JobMaker
) -> None:
    job = make_job(n=3, stop_after="c")
    drafted(database, job)
    assert database.waiting.redo(redone(job, 1), LIMITS)
    rested(database, job.id, "redo-1")
    assert database.waiting.redo(redone(job, 2, key="later"), LIMITS)
    rested(database, job.id, "redo-2")
    before = body(database, job.id)
    assert database.waiting.redo(redone(job, 1), LIMITS) is None
    assert body(database, job.id) == before
    with pytest.raises(IdempotencyMismatch):
        database.waiting.redo(redone(job, 2), LIMITS)
    database.waiting.resume(chosen(job, 1), LIMITS)
    assert database.waiting.redo(redone(job, 1), LIMITS) is None


def test_a_key_is_of_one_request_whether_it_continues_or_redoes(
    database: Database, make_job: JobMaker
) -> None:
    job = make_job(stop_after="c")
    drafted(database, job)
    assert database.waiting.redo(redone(job, key="mine"), LIMITS)
    rested(database, job.id, "redo-1")
    before = body(database, job.id)
    with pytest.raises(IdempotencyMismatch):
        database.waiting.resume(chosen(job, key="mine"), LIMITS)
    assert body(database, job.id) == before
    assert database.waiting.resume(chosen(job, key="another"), LIMITS)
    with pytest.raises(IdempotencyMismatch):
        database.waiting.redo(redone(job, key="another"), LIMITS)


@pytest.mark.parametrize("state", ["queued", "running", *TERMINAL_STATES])
def test_only_a_job_that_waits_can_be_redone(
    database: Database, make_job: JobMaker, state: str
) -> None:
    job = make_job(stop_after="c")
    set_columns(database, add(database, job), state=state)
    before = body(database, job.id)
    with pytest.raises(Conflict, match=f"is {state}"):
        database.waiting.redo(redone(job), LIMITS)
    assert body(database, job.id) == before
    with pytest.raises(NotFound):
        database.waiting.redo(redone(make_job()), LIMITS)


def test_a_job_is_redone_within_limits(database: Database, make_job: JobMaker) -> None:
    job = make_job(stop_after="c")
    drafted(database, job)
    other_id = add(database, make_job())
    with pytest.raises(RateLimited):
        database.waiting.redo(redone(job), OpenLimits(total=1, per_user=9))
    database.jobs.finish(other_id, "cancelled")
    assert body(database, job.id)["redone"] == []
    for number in range(1, MAX_REDOS + 1):
        assert database.waiting.redo(redone(job, key=f"{number}-"), LIMITS)
        assert rested(database, job.id, f"redo-{number}")
    with pytest.raises(Conflict, match=f"{MAX_REDOS} times"):
        database.waiting.redo(redone(job), LIMITS)


def test_replicas_that_were_lost_before_a_redo_do_not_count_in_it(
    database: Database, make_job: JobMaker
) -> None:
    job = make_job(stop_after="c")
    drafted(database, job)
    set_columns(database, job.id, crashes={"c0": 1})
    database.waiting.redo(redone(job, 0), LIMITS)
    assert database.jobs.count_crash(job.id, "c0") == 1


def test_a_preview_that_comes_late_is_not_that_of_the_composition_made_anew(
    database: Database, make_job: JobMaker
) -> None:
    job = make_job(stop_after="c")
    drafted(database, job)
    [before] = images_of(database, job.id)
    database.waiting.redo(redone(job, 0), LIMITS)
    told, late = types(database, job.id), ProgressStep(job.id, 0, "c", 20, 20, "late")
    database.images.save_preview(before.id, before.latent_id, late)
    [image] = images_of(database, job.id)
    assert (image.preview, types(database, job.id)) == (None, told)
