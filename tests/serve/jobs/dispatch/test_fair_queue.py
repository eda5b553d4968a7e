"""Users share a stage by work; cancelled calls give their slot back."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest

from serve.jobs.dispatch import fair_queue
from serve.jobs.dispatch.fair_queue import REMEMBERED_USERS, FairQueue


class Stage:
    """Calls that end when the test says so, in the order in which they got their slot."""

    def __init__(self, width: int = 1) -> None:
        self.queue = FairQueue(width)
        self.started: list[str] = []
        self._ends: dict[str, asyncio.Event] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def call(self, name: str, user: str, cost: float = 1.0) -> None:
        self._ends[name] = asyncio.Event()
        self._tasks[name] = asyncio.create_task(self._run(name, user, cost))
        await settle()

    async def end(self, name: str) -> None:
        self._ends[name].set()
        await self._tasks[name]
        await settle()

    async def cancel(self, name: str) -> None:
        self._tasks[name].cancel()
        with pytest.raises(asyncio.CancelledError):
            await self._tasks[name]
        await settle()

    async def end_all(self) -> list[str]:
        """End calls in the order of their slots until none is left."""
        for name in self.started:  # grows meanwhile
            if not self._tasks[name].done():
                await self.end(name)
        return self.started

    async def _run(self, name: str, user: str, cost: float) -> None:
        async with self.queue.slot(user, cost):
            self.started.append(name)
            await self._ends[name].wait()


def kept_users(queue: FairQueue) -> int:
    """Return how many users the queue's tables hold; nothing else shows that they stay small."""
    return len(queue._queues.keys() | queue._ends.keys())


async def settle() -> None:
    """Let every task that can go on do so."""
    for _ in range(10):
        await asyncio.sleep(0)


def run(scenario: Callable[[], object]) -> None:
    asyncio.run(scenario())  # type: ignore[arg-type]


def test_a_flood_delays_another_user_by_no_more_than_the_running_call() -> None:
    async def scenario() -> None:
        stage = Stage()
        for number in range(20):
            await stage.call(f"flood {number}", "flooder")
        await stage.call("other", "other")
        await stage.end("flood 0")
        assert stage.started == ["flood 0", "other"]

    run(scenario)


def test_cheap_calls_of_one_user_go_before_expensive_ones_of_another_in_proportion() -> None:
    async def scenario() -> None:
        stage = Stage()
        await stage.call("first", "another")
        for number in range(3):
            await stage.call(f"costly {number}", "costly", cost=4.0)
        for number in range(8):
            await stage.call(f"cheap {number}", "cheap", cost=1.0)
        order = [name.split()[0] for name in await stage.end_all()][1:]
        assert order[:6] == ["costly", "cheap", "cheap", "cheap", "cheap", "costly"]

    run(scenario)


def test_calls_of_one_user_keep_their_order() -> None:
    async def scenario() -> None:
        stage = Stage()
        for name in ("a", "b", "c"):
            await stage.call(name, "one")
        assert await stage.end_all() == ["a", "b", "c"]

    run(scenario)


def test_never_more_calls_than_the_width_run_at_once_and_all_get_a_slot() -> None:
    async def scenario() -> None:
        rng = random.Random(0)
        queue = FairQueue(3)
        running, seen = 0, []

        async def one(user: str, cost: float) -> None:
            nonlocal running
            async with queue.slot(user, cost):
                running += 1
                seen.append(running)
                for _ in range(rng.randrange(5)):
                    await asyncio.sleep(0)
                running -= 1

        await asyncio.gather(*(one(rng.choice("abc"), rng.random() + 0.1) for _ in range(200)))
        assert len(seen) == 200
        assert max(seen) == 3

    run(scenario)


def test_a_call_cancelled_while_it_waits_leaves_no_gap() -> None:
    async def scenario() -> None:
        stage = Stage()
        for name in ("a", "b", "c"):
            await stage.call(name, "one")
        await stage.cancel("b")
        await stage.end("a")
        assert stage.started == ["a", "c"]
        assert stage.queue.waiting_cost == 0

    run(scenario)


def test_a_call_cancelled_while_it_runs_gives_its_slot_to_the_next() -> None:
    async def scenario() -> None:
        stage = Stage()
        for name in ("a", "b"):
            await stage.call(name, "one")
        await stage.cancel("a")
        assert stage.started == ["a", "b"]

    run(scenario)


def test_a_call_cancelled_in_the_moment_it_gets_its_slot_gives_it_back() -> None:
    async def scenario() -> None:
        stage = Stage()
        for name in ("a", "b", "c"):
            await stage.call(name, "one")
        stage._ends["a"].set()
        await asyncio.sleep(0)  # a ends; b has its slot now but has not run yet
        stage._tasks["b"].cancel()
        await settle()
        assert stage.started == ["a", "c"]

    run(scenario)


def test_a_wider_stage_starts_waiting_calls_at_once() -> None:
    async def scenario() -> None:
        stage = Stage()
        for name in ("a", "b", "c"):
            await stage.call(name, "one")
        stage.queue.set_width(2)
        await settle()
        assert stage.started == ["a", "b"]
        stage.queue.set_width(1)
        await stage.end("a")
        assert stage.started == ["a", "b"]

    run(scenario)


def test_a_user_gets_no_credit_for_being_away() -> None:
    """Otherwise a new user could delay all users that worked before."""

    async def scenario() -> None:
        stage = Stage()
        for number in range(6):
            await stage.call(f"old {number}", "old")
        await stage.end("old 0")
        await stage.end("old 1")
        for number in range(3):
            await stage.call(f"new {number}", "new")
        order = (await stage.end_all())[3:]
        assert [name.split()[0] for name in order] == ["new", "old", "new", "old", "new", "old"]

    run(scenario)


def test_waiting_calls_are_counted_without_running_and_cancelled_ones() -> None:
    async def scenario() -> None:
        stage = Stage()
        for name, cost in (("a", 1.0), ("b", 2.0), ("c", 4.0)):
            await stage.call(name, "one", cost)
        assert (stage.queue.waiting_calls, stage.queue.waiting_cost) == (2, 6.0)
        await stage.cancel("b")
        assert (stage.queue.waiting_calls, stage.queue.waiting_cost) == (1, 4.0)

    run(scenario)


def test_calls_cancelled_while_they_wait_cost_their_user_nothing() -> None:
    async def scenario() -> None:
        stage = Stage()
        await stage.call("first", "other")
        for number in range(50):
            await stage.call(f"doomed {number}", "ann")
        for number in range(50):
            await stage.cancel(f"doomed {number}")
        await stage.call("ann", "ann")
        for number in range(5):
            await stage.call(f"bob {number}", "bob")
        assert (await stage.end_all())[1] == "ann"

    run(scenario)


def test_a_call_behind_cancelled_calls_of_its_user_moves_up() -> None:
    async def scenario() -> None:
        stage = Stage()
        await stage.call("first", "other")
        for number in range(5):
            await stage.call(f"doomed {number}", "ann")
        await stage.call("ann", "ann")
        for number in range(5):
            await stage.call(f"bob {number}", "bob")
        for number in range(5):
            await stage.cancel(f"doomed {number}")
        assert (await stage.end_all())[1:3] == ["ann", "bob 0"]

    run(scenario)


def test_calls_that_are_cancelled_while_nothing_runs_leave_no_user_behind() -> None:
    async def scenario() -> None:
        stage = Stage(width=0)
        for number in range(3):
            await stage.call(f"doomed {number}", f"user {number}")
        for number in range(3):
            await stage.cancel(f"doomed {number}")
        assert kept_users(stage.queue) == 0

    run(scenario)


def test_users_are_forgotten_while_another_call_goes_on_and_nothing_waits() -> None:
    async def scenario() -> None:
        stage = Stage(width=2)
        await stage.call("steady", "steady")
        for number in range(3):
            await stage.call(f"call {number}", f"user {number}")
            await stage.end(f"call {number}")
        assert kept_users(stage.queue) == 0

    run(scenario)


def test_the_table_of_users_stays_small_while_the_queue_is_never_empty(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    remembered = 100
    monkeypatch.setattr(fair_queue, "REMEMBERED_USERS", remembered)

    async def scenario() -> None:
        queue = FairQueue(1)
        waiting: list[asyncio.Task[None]] = []

        async def one(user: str) -> None:
            async with queue.slot(user, 1.0):
                pass

        async with queue.slot("first", 1.0):
            for number in range(3 * remembered):
                waiting.append(asyncio.create_task(one(f"user {number}")))
            await settle()
            assert queue.waiting_calls == 3 * remembered
        largest = 0
        while queue.waiting_calls:
            largest = max(largest, kept_users(queue) - queue.waiting_calls)
            await asyncio.sleep(0)
        await asyncio.gather(*waiting)
        assert remembered < largest <= 2 * remembered + 1

    run(scenario)


def test_heavy_users_are_remembered_while_many_others_come_and_go() -> None:
    async def scenario() -> None:
        stage = Stage()
        await stage.call("heavy", "heavy", cost=100.0)
        for number in range(3 * REMEMBERED_USERS):
            stage.queue._ends[f"user {number}"] = 1.0
        await stage.call("next", "light")
        await stage.end("heavy")
        await stage.call("heavy again", "heavy")
        await stage.call("light again", "light")
        await stage.end("next")
        assert stage.started == ["heavy", "next", "light again"]

    run(scenario)
