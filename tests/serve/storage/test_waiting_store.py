"""Jobs that wait, in both databases: what counts them, how they go on, how they end."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, update

from cascade_core.errors import (
    Conflict,
    IdempotencyMismatch,
    NotFound,
    RateLimited,
    RecordNewer,
)
from cascade_core.job_states import LIVE_STATES, OPEN_STATES, TERMINAL_STATES
from serve.jobs.recovery import OVERDUE_AFTER, end_waits, fail_overdue
from serve.release import RELEASE
from serve.storage.database import Database
from serve.storage.job_parts.parts import CONTINUED, FIRST, job_of_run, part_of, run_id
from serve.storage.job_store import update_in
from serve.storage.leases import LeaseStore
from serve.storage.records import JobIdentity, NewJob, OpenLimits, utc_now
from serve.storage.schema.tables import jobs
from tests.limits import HANG_S
from tests.serve.recorded_jobs import add, body, start
from tests.serve.storage.job_parts.drafts import (
    DAY,
    LIMITS,
    chosen,
    drafted,
    redone,
    set_columns,
    types,
)
from tests.serve.storage.job_queue.locks import wait_until_a_lock_is_waited_for

JobMaker = Callable[..., NewJob]
_numbers = count()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, new_database_url: Callable[[str], str]) -> str:
    return new_database_url(request.param)


def test_a_waiting_job_does_not_count_as_open(database: Database, make_job: JobMaker) -> None:
    job_id = drafted(database, make_job(n=4, stop_after="c"))
    assert database.jobs.open_ids() == []
    assert not database.jobs.is_open(job_id)
    assert database.jobs.open_job(job_id) is None
    assert database.jobs.runnable_ids(timedelta()) == []
    assert database.jobs.count() == {}
    newer = make_job()
    database.jobs.insert(newer, OpenLimits(total=1, per_user=1))
    assert body(database, newer.id)["position"] == 0


def test_a_waiting_job_shows_what_it_has_and_until_when_it_waits(
    database: Database, make_job: JobMaker
) -> None:
    job = make_job(n=2, stop_after="c", client_state={"mine": 1})
    shown = body(database, drafted(database, job))
    assert (shown["state"], shown["stage"], shown["progress"]) == ("waiting", None, None)
    assert (shown["position"], shown["eta_s"], shown["finished_at"]) == (None, None, None)
    assert (shown["images"], shown["compositions"], shown["continued"]) == ([], [], None)
    left_s = database.deadlines.seconds_left(job.id)
    assert left_s is not None
    assert 0.9 * DAY.total_seconds() < left_s <= DAY.total_seconds()
    last = database.events.of_job(job.id)[-1]
    assert (last.type, last.data["job"]) == (
        "waiting",
        {name: value for name, value in shown.items() if name != "client_state"},
    )


def test_a_job_without_a_stop_shows_no_compositions(database: Database, make_job: JobMaker) -> None:
    shown = body(database, add(database, make_job()))
    assert "compositions" not in shown
    assert "continued" not in shown


def test_no_deadline_runs_while_a_job_waits(database: Database, make_job: JobMaker) -> None:
    job_id = drafted(database, make_job(stop_after="c"))
    LeaseStore(database).renew("jobs-0")
    set_columns(database, job_id, deadline_at=utc_now() - 2 * OVERDUE_AFTER)
    fail_overdue(database, print, DAY)
    assert body(database, job_id)["state"] == "waiting"


def test_a_continued_job_is_queued_with_a_deadline_of_its_own(
    database: Database, make_job: JobMaker
) -> None:
    job = make_job(n=3, stop_after="c")
    drafted(database, job)
    assert database.waiting.resume(chosen(job, 0, 2, decoder_steps=4), LIMITS)
    shown, found = body(database, job.id), database.jobs.open_job(job.id)
    assert (shown["state"], shown["position"], shown["started_at"]) == ("queued", 0, None)
    assert shown["continued"].items() >= {"indices": [0, 2], "decoder_steps": 4}.items()
    assert shown["request"] == job.request.to_dict()
    assert found is not None
    assert list(found.indices) == [0, 2]
    assert found.request == replace(job.request, stop_after=None, decoder_steps=4)
    assert types(database, job.id) == ["queued", "progress", "queued"]
    assert database.jobs.runnable_ids(timedelta()) == [run_id(job.id, CONTINUED)]
    assert job_of_run(run_id(job.id, CONTINUED)) == (job.id, CONTINUED)
    start(database, job.id)
    database.jobs.finish(job.id, "succeeded", part=CONTINUED)
    assert types(database, job.id)[-1] == "succeeded"


def test_a_job_that_a_later_release_continues_is_of_that_release(
    database: Database, make_job: JobMaker
) -> None:
    job = make_job(stop_after="c")
    drafted(database, job)
    set_columns(database, job.id, release="0.0.1")
    assert database.waiting.resume(chosen(job), LIMITS)
    with database.reading() as connection:
        release = connection.execute(select(jobs.c.release).where(jobs.c.id == job.id)).scalar()
    assert release == RELEASE


def test_a_draft_that_a_later_release_made_is_left_to_it(
    database: Database, make_job: JobMaker
) -> None:
    job = make_job(stop_after="c")
    drafted(database, job)
    set_columns(database, job.id, release="99.0")
    before = body(database, job.id)
    with pytest.raises(RecordNewer):
        database.waiting.resume(chosen(job), LIMITS)
    with pytest.raises(RecordNewer):
        database.waiting.redo(redone(job), LIMITS)
    assert body(database, job.id) == before


def test_a_request_to_continue_that_is_sent_again_changes_nothing(
    database: Database, make_job: JobMaker
) -> None:
    job = make_job(n=3, stop_after="c")
    drafted(database, job)
    assert database.waiting.resume(chosen(job, 1), LIMITS)
    before = body(database, job.id)
    assert not database.waiting.resume(chosen(job, 1), LIMITS)
    assert body(database, job.id) == before
    assert types(database, job.id).count("queued") == 2
    database.jobs.finish(job.id, "succeeded")
    assert not database.waiting.resume(chosen(job, 1), LIMITS)
    with pytest.raises(IdempotencyMismatch):
        database.waiting.resume(chosen(job, 2), LIMITS)
    with pytest.raises(Conflict, match="was continued before"):
        database.waiting.resume(chosen(job, 1, key="another"), LIMITS)


def test_a_second_request_is_a_conflict_also_beyond_the_limits_of_open_jobs(
    database: Database, make_job: JobMaker
) -> None:
    limits = OpenLimits(total=1, per_user=1)
    job = make_job(stop_after="c")
    drafted(database, job)
    assert database.waiting.resume(chosen(job), limits)
    with pytest.raises(RateLimited):
        database.jobs.insert(make_job(), limits)
    add(database, make_job())
    for ask in (
        lambda: database.waiting.resume(chosen(job, key="another"), limits),
        lambda: database.waiting.redo(redone(job), limits),
        lambda: database.waiting.accepted_before(job.id, chosen(job, key="another").identity),
    ):
        with pytest.raises(Conflict, match="was continued before"):
            ask()
    assert database.waiting.resume(chosen(job), limits) is None
    assert database.waiting.accepted_before(job.id, chosen(job).identity)


@pytest.mark.parametrize("other", ["resume", "redo"])
def test_of_requests_that_come_at_once_one_has_the_job_go_on(
    database: Database, database_url: str, make_job: JobMaker, other: str
) -> None:
    job = make_job(n=2, stop_after="c")
    drafted(database, job)
    store = database.waiting
    requests: dict[str, Callable[[], str | None]] = {
        "first": lambda: store.resume(chosen(job, 0, key="first"), LIMITS),
        "resume": lambda: store.resume(chosen(job, 1, key="resume"), LIMITS),
        "redo": lambda: store.redo(redone(job, 1, key="redo"), LIMITS),
    }
    with ThreadPoolExecutor(2) as threads:
        with database.writing() as connection:  # both have begun before one has gone on
            assert update_in(connection, job.id, ["waiting"], {"id": job.id})
            asked = [threads.submit(requests[name]) for name in ("first", other)]
            if database_url.startswith("postgresql"):
                wait_until_a_lock_is_waited_for(database, by=2)
        errors = [one.exception(HANG_S) for one in asked]
    assert [type(error) for error in errors if error is not None] == [Conflict]
    assert types(database, job.id).count("queued") == 2


def test_a_flood_of_refused_requests_takes_no_lock(
    database: Database, database_url: str, make_job: JobMaker
) -> None:
    limits = OpenLimits(total=1, per_user=1)
    job, continued = make_job(stop_after="c"), make_job(stop_after="c")
    drafted(database, job)
    drafted(database, continued)
    database.waiting.resume(chosen(continued), limits)
    with pytest.raises(RateLimited):
        database.jobs.insert(make_job(), limits)
    other_process = Database(database_url)
    with other_process.writing() as connection:
        connection.execute(update(jobs).values(warnings=[]))
        for ask in (
            lambda: database.waiting.resume(chosen(job), limits),
            lambda: database.waiting.redo(redone(job), limits),
        ):
            with pytest.raises(RateLimited):
                ask()
        with pytest.raises(Conflict):
            database.waiting.resume(chosen(continued, key="another"), limits)
        assert database.waiting.resume(chosen(continued), limits) is None
    other_process.close()


@pytest.mark.parametrize("state", ["queued", "running", *TERMINAL_STATES])
def test_only_a_job_that_waits_can_be_continued(
    database: Database, make_job: JobMaker, state: str
) -> None:
    job = make_job(stop_after="c")
    set_columns(database, add(database, job), state=state)
    with pytest.raises(Conflict, match=f"is {state}"):
        database.waiting.resume(chosen(job), LIMITS)
    with pytest.raises(NotFound):
        database.waiting.resume(chosen(make_job()), LIMITS)


def test_a_job_cannot_be_continued_beyond_the_limits_of_open_jobs(
    database: Database, make_job: JobMaker
) -> None:
    job = make_job(stop_after="c")
    drafted(database, job)
    before, other_id = body(database, job.id), add(database, make_job())
    for limits in (OpenLimits(total=1, per_user=9), OpenLimits(total=9, per_user=1)):
        with pytest.raises(RateLimited):
            database.waiting.resume(chosen(job), limits)
    assert body(database, job.id) == before
    assert types(database, job.id)[-1] == "waiting"
    database.jobs.finish(other_id, "cancelled")
    assert database.waiting.resume(chosen(job), OpenLimits(total=1, per_user=1))


@pytest.mark.parametrize(("states", "ends"), [(LIVE_STATES, True), (OPEN_STATES, False)])
def test_a_client_can_cancel_a_waiting_job_and_a_late_run_cannot_end_it(
    database: Database, make_job: JobMaker, states: tuple[Any, ...], ends: bool
) -> None:
    job_id = drafted(database, make_job(stop_after="c"))
    assert database.jobs.finish(job_id, "cancelled", if_in=states) is ends
    expected = "cancelled" if ends else "waiting"
    assert body(database, job_id)["state"] == expected
    assert types(database, job_id) == ["queued", "progress", expected]


def test_the_key_of_a_client_that_has_left_a_waiting_job_is_free_again(
    database: Database, make_job: JobMaker
) -> None:
    job = make_job(stop_after="c")
    drafted(database, replace(job, identity=replace(job.identity, key="mine")))
    database.jobs.release_idempotency_key(job.id)
    assert database.jobs.accepted_before(JobIdentity("02", "mine", "other")) is None


def test_a_run_that_comes_late_leaves_a_continued_job_alone(
    database: Database, make_job: JobMaker
) -> None:
    job = make_job(stop_after="c")
    drafted(database, job)
    database.waiting.resume(chosen(job), LIMITS)
    assert not database.waiting.begin(job.id, DAY)
    assert not database.jobs.finish(job.id, "failed", part=FIRST)
    assert body(database, job.id)["state"] == "queued"


def test_a_job_that_is_not_continued_ends_with_what_it_has(
    database: Database, make_job: JobMaker
) -> None:
    over, waits, goes_on = (make_job(stop_after="c") for _ in range(3))
    for job in (over, waits, goes_on):
        drafted(database, job)
    database.waiting.resume(chosen(goes_on), LIMITS)
    for job in (over, goes_on):
        set_columns(database, job.id, deadline_at=utc_now() - timedelta(seconds=1))
    counted: list[tuple[str, str, str]] = []
    end_waits(database, lambda *job: counted.append(job))
    states = [body(database, job.id)["state"] for job in (over, waits, goes_on)]
    assert states == ["succeeded", "waiting", "queued"]
    assert types(database, over.id) == ["queued", "progress", "succeeded"]
    assert body(database, over.id)["finished_at"] is not None
    assert counted == [("generate", "succeeded", "")]


def test_the_time_that_a_job_waited_is_not_taken_for_the_time_that_jobs_need(
    database: Database, make_job: JobMaker
) -> None:
    job_id = drafted(database, make_job(stop_after="c"))
    set_columns(database, job_id, started_at=utc_now() - DAY)
    database.jobs.finish(job_id, "succeeded", if_in=("waiting",))
    assert body(database, add(database, make_job()))["eta_s"] is None


@given(
    steps=st.lists(
        st.sampled_from(
            ["begin", "resume", "again", "redo", "cancel", "fail", "succeed", "expire"]
        ),
        max_size=8,
    )
)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_whatever_happens_to_a_job_its_stream_ends_where_it_rests(
    database: Database, make_job: JobMaker, steps: list[str]
) -> None:
    job = make_job(n=2, stop_after="c")
    add(database, job)
    state, is_continued = "queued", False
    for step in steps:
        state, is_continued = _apply(database, job, step, state, is_continued)
        shown, seen = body(database, job.id), types(database, job.id)
        assert shown["state"] == state
        resting = [type_ for type_ in seen if type_ in ("waiting", *TERMINAL_STATES)]
        assert resting == ([] if state == "queued" else [state])
        assert seen[-1] == state
        assert (shown["continued"] is not None) == is_continued


def _apply(
    database: Database, job: NewJob, step: str, state: str, is_continued: bool
) -> tuple[str, bool]:
    """Do one thing to a job; returns the state that it must have then."""
    if step == "begin":
        redos = len(body(database, job.id)["redone"])
        part = part_of(is_continued=False, redos=redos)
        began = database.waiting.begin(job.id, DAY, part)
        assert began == (state == "queued" and not is_continued)
        return ("waiting" if began else state), is_continued
    if step in ("resume", "again"):
        try:
            is_new = database.waiting.resume(chosen(job, key=step), OpenLimits(999, 999))
        except Conflict:
            assert state != "waiting"
            return state, is_continued
        assert (is_new is not None) == (state == "waiting")
        return ("queued" if is_new else state), True
    if step == "redo":
        try:
            database.waiting.redo(redone(job, key=f"{next(_numbers)}-"), OpenLimits(999, 999))
        except Conflict:
            assert state != "waiting"
            return state, is_continued
        return "queued", is_continued
    ends = {"cancel": "cancelled", "fail": "failed", "succeed": "succeeded", "expire": "succeeded"}
    froms: dict[str, Any] = {"cancel": LIVE_STATES, "expire": ("waiting",)}
    states = froms.get(step, OPEN_STATES)
    ended = database.jobs.finish(job.id, ends[step], if_in=states)  # type: ignore[arg-type]
    assert ended == (state in states)
    return (ends[step] if ended else state), is_continued
