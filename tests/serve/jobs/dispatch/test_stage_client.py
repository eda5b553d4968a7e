"""A call of a stage: what is tried again, how often, and what ends it; replicas are scripted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from ray.exceptions import RayActorError
from ray.serve._private.common import DeploymentID
from ray.serve.exceptions import DeploymentUnavailableError

from cascade_core.errors import CannotBeServed, NotReady, OutOfMemory, StageLost
from serve.jobs.dispatch import stage_client
from serve.jobs.dispatch.stage_client import MAX_CRASHES, MAX_TRIES, StageClient
from serve.messages import StageMessage

DONE = StageMessage(type="done", result=b"latent", seconds=0.5)
STARTED = StageMessage(type="started")
Try = list[StageMessage | BaseException | asyncio.Event]
"""What a replica does with a call, in order: says something, fails, or waits."""


class Stream:
    """What a handle gives for a call."""

    def __init__(self, happens: Try) -> None:
        self._messages = self._run(happens)
        self.is_cancelled = False

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> StageMessage:
        return await anext(self._messages)

    def cancel(self) -> None:
        self.is_cancelled = True

    async def _run(self, happens: Try) -> AsyncIterator[StageMessage]:
        for item in happens:
            if isinstance(item, BaseException):
                raise item
            if isinstance(item, asyncio.Event):
                await item.wait()
            else:
                yield item


class Handle:
    """A deployment handle that follows a script of tries."""

    def __init__(self, *tries: Try) -> None:
        self._tries = list(tries)
        self.streams: list[Stream] = []

    def options(self, **options: Any) -> Handle:
        return self

    @property
    def run(self) -> Handle:
        return self

    def remote(self, *args: Any) -> Stream:
        self.streams.append(Stream(self._tries[len(self.streams)]))
        return self.streams[-1]


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RETRY_PAUSE_S", "NOT_READY_PAUSE_S"):
        monkeypatch.setattr(stage_client, name, 0.0)


@pytest.fixture
def crashes() -> list[int]:
    """The crashes that were noted; holds those from before a restart at first."""
    return []


@pytest.fixture
def call(crashes: list[int]) -> Callable[[Handle], Any]:
    def on_message(message: StageMessage) -> None:
        return None

    async def on_crash() -> int:
        crashes.append(1)
        return len(crashes)

    def call(handle: Handle) -> Any:
        return StageClient("b", handle).call(on_message=on_message, on_crash=on_crash)

    return call


Call = Callable[[Handle], Any]


async def test_a_request_that_loses_two_replicas_is_failed(call: Call, crashes: list[int]) -> None:
    handle = Handle(*[[STARTED, RayActorError()]] * MAX_CRASHES, [STARTED, DONE])
    with pytest.raises(StageLost):
        await call(handle)
    assert len(handle.streams) == len(crashes) == MAX_CRASHES


async def test_a_crash_from_before_a_restart_counts(call: Call, crashes: list[int]) -> None:
    crashes.append(1)
    handle = Handle([STARTED, RayActorError()], [STARTED, DONE])
    with pytest.raises(StageLost):
        await call(handle)
    assert len(handle.streams) == 1


async def test_a_device_that_fails_in_its_step_counts_as_a_death(
    call: Call, crashes: list[int]
) -> None:
    lost = StageLost("the device of stage b failed")
    assert (await call(Handle([STARTED, lost], [STARTED, DONE]))).data == b"latent"
    assert len(crashes) == 1


async def test_replicas_that_refuse_work_are_asked_again_until_one_takes_it(
    call: Call, crashes: list[int]
) -> None:
    handle = Handle(*[[NotReady("replaced")]] * (5 * MAX_TRIES), [STARTED, DONE])
    assert (await call(handle)).data == b"latent"
    assert crashes == []


async def test_memory_that_runs_out_on_every_try_fails_the_call(
    call: Call, crashes: list[int]
) -> None:
    handle = Handle(*[[STARTED, OutOfMemory("no room")]] * MAX_TRIES)
    with pytest.raises(OutOfMemory):
        await call(handle)
    assert crashes == []


async def test_a_replica_that_falls_silent_is_given_up_and_another_asked(
    call: Call, crashes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage_client, "SILENCE_LIMIT_S", 0.01)
    handle = Handle([STARTED, asyncio.Event()], [STARTED, DONE])
    assert (await call(handle)).data == b"latent"
    assert [stream.is_cancelled for stream in handle.streams] == [True, False]
    assert len(crashes) == 1


async def test_a_call_may_wait_for_its_replica_as_long_as_it_takes(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage_client, "SILENCE_LIMIT_S", 0.0)
    starts = asyncio.Event()
    asyncio.get_running_loop().call_later(0.01, starts.set)
    assert (await call(Handle([starts, DONE]))).data == b"latent"


async def test_a_stage_that_failed_to_deploy_cannot_serve(call: Call) -> None:
    unavailable = DeploymentUnavailableError(DeploymentID("StageB"))
    with pytest.raises(CannotBeServed, match="stage B"):
        await call(Handle([unavailable]))


async def test_cancelling_a_call_cancels_its_stream(call: Call) -> None:
    handle = Handle([STARTED, asyncio.Event()])
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(call(handle), 0.01)
    assert handle.streams[0].is_cancelled
