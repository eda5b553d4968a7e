"""A user over the limit is rejected again at once; Jobs is told in few calls what is watched."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from ray.exceptions import ActorDiedError
from ray.serve.handle import DeploymentHandle

from cascade_core.errors import RateLimited
from serve.gateway.jobs_client import REPEAT_S, RejectionCache
from serve.gateway.ray_jobs_client import RayJobsClient
from serve.storage.records import JobOwner
from tests.serve.clock import Clock
from tests.serve.waiting import until

ANN, BOB = JobOwner("key", "ann"), JobOwner("key", "bob")
FULL = RateLimited("50 jobs are open", retry_after_s=7.0)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def rejections(clock: Clock) -> RejectionCache:
    return RejectionCache(clock)


def reject(rejections: RejectionCache, owner: JobOwner) -> None:
    with pytest.raises(RateLimited), rejections.submitting(owner):
        raise FULL


def is_let_past(rejections: RejectionCache, owner: JobOwner) -> bool:
    try:
        with rejections.submitting(owner):
            return True
    except RateLimited:
        return False


def test_a_rejection_is_repeated_word_for_word_to_the_same_user_only(
    rejections: RejectionCache,
) -> None:
    reject(rejections, ANN)
    with (
        pytest.raises(RateLimited, match="50 jobs are open") as repeated,
        rejections.submitting(ANN),
    ):
        pytest.fail("let past")
    assert repeated.value.retry_after_s == 7.0
    assert is_let_past(rejections, BOB)


def test_a_client_that_comes_back_after_the_shortest_time_told_is_not_held_up(
    rejections: RejectionCache, clock: Clock
) -> None:
    reject(rejections, ANN)
    clock.now_s += REPEAT_S
    assert is_let_past(rejections, ANN)


def test_a_repeated_rejection_does_not_make_itself_last_longer(
    rejections: RejectionCache, clock: Clock
) -> None:
    reject(rejections, ANN)
    clock.now_s += 0.9 * REPEAT_S
    assert not is_let_past(rejections, ANN)
    clock.now_s += 0.1 * REPEAT_S
    assert is_let_past(rejections, ANN)


def test_while_one_request_of_a_rejected_user_is_being_answered_the_others_are_rejected(
    rejections: RejectionCache, clock: Clock
) -> None:
    reject(rejections, ANN)
    clock.now_s += 5 * REPEAT_S
    with rejections.submitting(ANN):
        assert not is_let_past(rejections, ANN)
        assert is_let_past(rejections, BOB)


def test_after_an_accepted_job_all_are_let_past_again(
    rejections: RejectionCache, clock: Clock
) -> None:
    reject(rejections, ANN)
    clock.now_s += REPEAT_S
    with rejections.submitting(ANN):
        pass
    with rejections.submitting(ANN):
        assert is_let_past(rejections, ANN)


def test_a_request_that_fails_otherwise_does_not_lock_its_user_out(
    rejections: RejectionCache, clock: Clock
) -> None:
    reject(rejections, ANN)
    clock.now_s += REPEAT_S
    with pytest.raises(ConnectionError), rejections.submitting(ANN):
        raise ConnectionError
    assert is_let_past(rejections, ANN)


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
