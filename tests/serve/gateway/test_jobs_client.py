"""A user over the limit is refused again at once; what concerns many jobs is told in few calls."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import Any, cast

import pytest
from ray.exceptions import ActorDiedError
from ray.serve.handle import DeploymentHandle

from cascade_core.errors import RateLimited
from serve.batched_calls import BatchedCalls
from serve.gateway.jobs_client import REPEAT_S, RateLimitCache
from serve.gateway.ray_jobs_client import RayJobsClient
from serve.storage.records import JobOwner
from tests.limits import HANG_S
from tests.serve.clock import Clock
from tests.serve.waiting import until

ANN, BOB = JobOwner("key", "ann"), JobOwner("key", "bob")
FULL = RateLimited("50 jobs are open", retry_after_s=7.0)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cache(clock: Clock) -> RateLimitCache:
    return RateLimitCache(clock)


def limit(cache: RateLimitCache, owner: JobOwner) -> None:
    with pytest.raises(RateLimited), cache.submitting(owner):
        raise FULL


def is_let_past(cache: RateLimitCache, owner: JobOwner) -> bool:
    try:
        with cache.submitting(owner):
            return True
    except RateLimited:
        return False


def test_a_429_is_repeated_word_for_word_to_the_same_user_only(
    cache: RateLimitCache,
) -> None:
    limit(cache, ANN)
    with (
        pytest.raises(RateLimited, match="50 jobs are open") as repeated,
        cache.submitting(ANN),
    ):
        pytest.fail("let past")
    assert repeated.value.retry_after_s == 7.0
    assert is_let_past(cache, BOB)


def test_a_client_that_comes_back_after_the_shortest_time_told_is_not_held_up(
    cache: RateLimitCache, clock: Clock
) -> None:
    limit(cache, ANN)
    clock.now_s += REPEAT_S
    assert is_let_past(cache, ANN)


def test_a_repeated_429_does_not_make_itself_last_longer(
    cache: RateLimitCache, clock: Clock
) -> None:
    limit(cache, ANN)
    clock.now_s += 0.9 * REPEAT_S
    assert not is_let_past(cache, ANN)
    clock.now_s += 0.1 * REPEAT_S
    assert is_let_past(cache, ANN)


def test_while_one_request_of_a_limited_user_is_being_answered_the_others_get_429(
    cache: RateLimitCache, clock: Clock
) -> None:
    limit(cache, ANN)
    clock.now_s += 5 * REPEAT_S
    with cache.submitting(ANN):
        assert not is_let_past(cache, ANN)
        assert is_let_past(cache, BOB)


def test_after_an_accepted_job_all_are_let_past_again(cache: RateLimitCache, clock: Clock) -> None:
    limit(cache, ANN)
    clock.now_s += REPEAT_S
    with cache.submitting(ANN):
        pass
    with cache.submitting(ANN):
        assert is_let_past(cache, ANN)


def test_a_request_that_fails_otherwise_does_not_lock_its_user_out(
    cache: RateLimitCache, clock: Clock
) -> None:
    limit(cache, ANN)
    clock.now_s += REPEAT_S
    with pytest.raises(ConnectionError), cache.submitting(ANN):
        raise ConnectionError
    assert is_let_past(cache, ANN)


class BroadcastHandle:
    """Of Jobs: notes what is broadcast, fails the first time and answers when it may."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.may_answer = asyncio.Event()

    def broadcast(self, *call: Any) -> BroadcastHandle:
        self.calls.append(call)
        return self

    async def results_async(self) -> None:
        await self.may_answer.wait()
        if len(self.calls) == 1:
            raise ActorDiedError


async def test_jobs_that_are_watched_at_once_are_told_in_one_call_and_a_failure_harms_none() -> (
    None
):
    handle = BroadcastHandle()
    client = RayJobsClient(cast(DeploymentHandle, handle))
    client.watch("J1")
    await until(lambda: len(handle.calls) == 1)
    for job_id in ("J3", "J2", "J3"):
        client.watch(job_id)
    handle.may_answer.set()
    await until(lambda: len(handle.calls) == 2)
    assert handle.calls == [("watch", ["J1"]), ("watch", ["J2", "J3"])]
    client.watch("J4")
    await until(lambda: handle.calls[-1] == ("watch", ["J4"]))


class HangingHandle:
    """Of Jobs: one of its replicas never answers a call to all of them."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        return self

    async def remote(self, *args: Any) -> bool:
        return True

    def broadcast(self, *call: Any) -> HangingHandle:
        self.calls.append(call)
        return self

    async def results_async(self) -> None:
        await asyncio.Event().wait()


async def test_a_replica_that_never_answers_keeps_no_later_job_from_being_watched() -> None:
    handle = HangingHandle()
    client = RayJobsClient(cast(DeploymentHandle, handle), timeout_s=0.0)
    client.watch("J1")
    await until(lambda: handle.calls == [("watch", ["J1"])])
    client.watch("J2")
    await until(lambda: handle.calls == [("watch", ["J1"]), ("watch", ["J2"])])


async def test_a_replica_that_never_answers_does_not_keep_a_job_from_being_cancelled() -> None:
    handle = HangingHandle()
    client = RayJobsClient(cast(DeploymentHandle, handle), timeout_s=0.0)
    async with asyncio.timeout(HANG_S):
        assert await client.cancel("J1")
    assert handle.calls == [("stop_calls", "J1")]


class Told:
    """Notes the jobs of each call; each call raises the next of these errors."""

    def __init__(self, *errors: BaseException | None) -> None:
        self.calls: list[list[str]] = []
        self._errors = list(errors)

    async def tell(self, job_ids: list[str]) -> None:
        self.calls.append(job_ids)
        if self._errors and (error := self._errors.pop(0)) is not None:
            raise error

    async def are_told(self, *job_ids: str) -> None:
        """Call with each of the jobs, one after the other."""
        batched = BatchedCalls(self.tell)
        for job_id in job_ids:
            batched.add([job_id])
            await until(lambda: batched._calling is None)


@pytest.mark.parametrize(
    "error", [RuntimeError("a bug"), TimeoutError(), asyncio.CancelledError()], ids=repr
)
async def test_after_a_failure_the_next_job_is_told(error: BaseException) -> None:
    told = Told(error)
    await told.are_told("J1", "J2")
    assert told.calls == [["J1"], ["J2"]]


async def test_a_call_that_raised_a_cancellation_leaves_what_came_meanwhile_to_the_next() -> None:
    may_fail = asyncio.Event()
    told = Told()

    async def tell(job_ids: list[str]) -> None:
        await told.tell(job_ids)
        if len(told.calls) == 1:
            await may_fail.wait()
            raise asyncio.CancelledError  # as Ray does for a call that was cancelled elsewhere

    batched = BatchedCalls(tell)
    batched.add(["J1"])
    await until(lambda: told.calls == [["J1"]])
    batched.add(["J3", "J2"])
    may_fail.set()
    await until(lambda: told.calls == [["J1"], ["J2", "J3"]])


async def test_a_call_of_several_requests_belongs_to_none_of_them() -> None:
    request = ContextVar("request", default="none")
    seen: list[str] = []

    async def tell(_job_ids: list[str]) -> None:
        seen.append(request.get())

    request.set("the first")
    BatchedCalls(tell).add(["J1"])
    await until(lambda: bool(seen))
    assert seen == ["none"]


async def test_a_call_that_never_ends_is_given_up_and_the_next_job_is_told() -> None:
    told = Told()

    async def tell(job_ids: list[str]) -> None:
        await told.tell(job_ids)
        await asyncio.Event().wait()

    batched = BatchedCalls(tell, timeout_s=0.0)
    batched.add(["J1"])
    await until(lambda: batched._calling is None)
    batched.add(["J2"])
    await until(lambda: told.calls == [["J1"], ["J2"]])


async def test_the_end_of_the_process_ends_the_calls() -> None:
    told = Told()

    async def tell(job_ids: list[str]) -> None:
        await told.tell(job_ids)
        await asyncio.Event().wait()

    batched = BatchedCalls(tell)
    batched.add(["J1"])
    await until(lambda: told.calls == [["J1"]])
    calling = batched._calling
    assert calling is not None
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling


async def test_each_series_of_failures_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    failure = ConnectionError("away")
    await Told(failure, failure, None, failure).are_told("J1", "J2", "J3", "J4")
    assert [record.getMessage() for record in caplog.records] == ["Told.tell failed"] * 2
