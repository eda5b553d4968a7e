"""The queue of a client that follows many jobs: few steps, and everything else."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import Any

import pytest

from serve.gateway.events.coalesced_events import CoalescedEvents
from serve.storage.records import EventRow, utc_now
from tests.limits import HANG_S


class Queue(CoalescedEvents):
    """A queue whose time stands still until a test moves it on; a job's step takes a second."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self._ids = count(1)
        super().__init__(1.0, lambda: self.now_s)

    def put(self, job_id: str, event_type: str, **data: Any) -> None:
        self.put_nowait(EventRow(next(self._ids), job_id, event_type, data, utc_now()))

    async def all_due(self) -> list[tuple[str, str, dict[str, Any]]]:
        """Take what may leave now."""
        taken: list[tuple[str, str, dict[str, Any]]] = []
        while True:
            getting = asyncio.create_task(self.get())
            await asyncio.sleep(0)
            if not getting.done():
                getting.cancel()
                return taken
            event = getting.result()
            taken.append((event.job_id, event.type, event.data))


@pytest.fixture
def queue() -> Queue:
    return Queue()


async def test_of_the_steps_within_a_pause_the_newest_comes(queue: Queue) -> None:
    queue.put("J", "progress", index=0, step=1)
    assert await queue.all_due() == [("J", "progress", {"index": 0, "step": 1})]
    for step in (2, 3, 4):
        queue.put("J", "progress", index=0, step=step)
    assert await queue.all_due() == []
    queue.now_s += 1
    assert await queue.all_due() == [("J", "progress", {"index": 0, "step": 4})]
    queue.now_s += 1
    assert await queue.all_due() == []


async def test_jobs_do_not_wait_for_each_other_and_images_of_a_job_take_turns(
    queue: Queue,
) -> None:
    shown = []
    for step in range(1, 4):
        for job_id, index in (("J", 0), ("J", 1), ("K", 0)):
            queue.put(job_id, "progress", index=index, step=step)
        shown.append([(job, data["index"], data["step"]) for job, _, data in await queue.all_due()])
        queue.now_s += 1
    assert shown == [
        [("J", 0, 1), ("K", 0, 1)],
        [("J", 1, 2), ("K", 0, 2)],
        [("J", 0, 3), ("K", 0, 3)],
    ]


async def test_a_step_that_replaces_one_with_a_preview_shows_that(queue: Queue) -> None:
    queue.put("J", "progress", index=0, step=1, preview="1.webp")
    queue.put("J", "progress", index=0, step=2, preview="2.webp")
    queue.put("J", "progress", index=0, step=3)
    queue.put("J", "progress", index=1, step=1)
    assert await queue.all_due() == [
        ("J", "progress", {"index": 0, "step": 3, "preview": "2.webp"})
    ]
    queue.now_s += 1
    assert await queue.all_due() == [("J", "progress", {"index": 1, "step": 1})]


async def test_all_other_events_come_at_once_and_make_earlier_steps_obsolete(
    queue: Queue,
) -> None:
    queue.put("J", "progress", index=0, step=1)
    await queue.all_due()
    for index in (0, 1, 2):
        queue.put("J", "progress", index=index, step=2)
    queue.put("J", "rejected", index=0)
    queue.put("J", "image", index=1)
    assert await queue.all_due() == [("J", "rejected", {"index": 0}), ("J", "image", {"index": 1})]
    queue.now_s += 1
    assert await queue.all_due() == [("J", "progress", {"index": 2, "step": 2})]
    for index in (0, 2):
        queue.put("J", "progress", index=index, step=3)
    queue.put("J", "succeeded")
    assert await queue.all_due() == [("J", "succeeded", {})]
    queue.now_s += 1
    assert await queue.all_due() == []


async def test_a_step_of_a_redo_comes_after_the_event_that_begins_it(queue: Queue) -> None:
    queue.put("J", "waiting")
    queue.put("J", "queued")
    queue.put("J", "progress", index=0, step=1)
    assert [event_type for _, event_type, _ in await queue.all_due()] == [
        "waiting",
        "queued",
        "progress",
    ]


async def test_it_keeps_one_step_an_image_and_nothing_of_jobs_that_have_ended(
    queue: Queue,
) -> None:
    for step in range(1000):
        queue.put(f"J{step % 10}", "progress", index=step % 20, step=step)
    assert queue.qsize() == 0
    assert sum(map(len, queue._steps.values())) == 20
    for number in range(10):
        queue.put(f"J{number}", "succeeded")
    await queue.all_due()
    queue.now_s += 1
    await queue.all_due()
    for kept in (queue._steps, queue._turns, queue._has_turn):
        assert not kept


async def test_a_client_that_waits_gets_a_step_when_it_is_due() -> None:
    queue = CoalescedEvents(0.01)
    for step in (1, 2):
        queue.put_nowait(EventRow(step, "J", "progress", {"index": 0, "step": step}, utc_now()))
        if step == 1:
            await queue.get()
    async with asyncio.timeout(HANG_S):
        assert (await queue.get()).data["step"] == 2
        getting = asyncio.create_task(queue.get())
        await asyncio.sleep(0)
        queue.put_nowait(EventRow(3, "J", "succeeded", {}, utc_now()))
        assert (await getting).type == "succeeded"
