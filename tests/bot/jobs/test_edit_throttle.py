"""Which changes become edits, and when, on a fake clock."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from bot.jobs import edit_throttle
from bot.jobs.edit_throttle import EditThrottle, LiveMessageCounts
from bot.views.snapshot import Snapshot
from tests.limits import HANG_S

COMPOSING = Snapshot(stage="c", step=5, steps=20, done=(0.15,))


class Clock:
    """A clock that sleeping advances."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 100.0
        self._really_sleep = asyncio.sleep
        monkeypatch.setattr(asyncio, "sleep", self._sleep)

    def __call__(self) -> float:
        return self.now_s

    async def _sleep(self, wait_s: float) -> None:
        self.now_s += wait_s
        await self._really_sleep(0)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


class Screen:
    """Records what was shown and when; edits wait while the gate is closed."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.shown: list[tuple[float, Snapshot]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.begun = asyncio.Event()
        self.coalesced = 0
        self._clock = clock

    async def edit(self, snapshot: Snapshot) -> bool:
        self.begun.set()
        await self.gate.wait()
        self.shown.append((self._clock(), snapshot))
        return True

    def count(self) -> None:
        self.coalesced += 1


async def until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(HANG_S):
        while not done():  # noqa: ASYNC110 - the clock is fake: these are turns of the loop
            await asyncio.sleep(0)


async def test_the_latest_wins_and_edits_keep_their_distance(clock: Clock) -> None:
    screen = Screen(clock)
    throttle = EditThrottle(screen.edit, lambda: 2.0, screen.count, clock)
    snapshots = [replace(COMPOSING, done=(step / 10,)) for step in range(10)]
    throttle.show(snapshots[0])
    await until(lambda: len(screen.shown) == 1)
    for snapshot in snapshots[1:]:
        throttle.show(snapshot)
    await until(lambda: len(screen.shown) == 2)
    (first_s, _), (second_s, last) = screen.shown
    assert second_s - first_s >= 2.0
    assert last == snapshots[-1]
    assert screen.coalesced == 8


async def test_one_edit_is_on_its_way_at_a_time(clock: Clock) -> None:
    screen = Screen(clock)
    screen.gate.clear()
    throttle = EditThrottle(screen.edit, lambda: 2.0, clock=clock)
    throttle.show(COMPOSING)
    await screen.begun.wait()
    screen.begun.clear()
    throttle.show(replace(COMPOSING, stage="b"))
    throttle.show(replace(COMPOSING, stage="a"))
    assert not screen.begun.is_set()
    screen.gate.set()
    await until(lambda: len(screen.shown) == 2)
    assert [snapshot.stage for _, snapshot in screen.shown] == ["c", "a"]


async def test_a_change_too_small_to_notice_is_not_shown(clock: Clock) -> None:
    screen = Screen(clock)
    throttle = EditThrottle(screen.edit, lambda: 0.0, clock=clock)
    throttle.show(COMPOSING)
    await until(lambda: len(screen.shown) == 1)
    throttle.show(replace(COMPOSING, step=6, done=(0.2,)))
    throttle.show(replace(COMPOSING, step=9, done=(0.26,)))
    await until(lambda: len(screen.shown) == 2)
    assert screen.shown[1][1].step == 9


async def test_a_time_that_has_passed_is_taken_out_of_the_message(clock: Clock) -> None:
    screen = Screen(clock)
    throttle = EditThrottle(screen.edit, lambda: 2.0, clock=clock, unix_time=clock)
    throttle.show(replace(COMPOSING, done_at=120))
    await until(lambda: len(screen.shown) == 2)
    (_, first), (at_s, second) = screen.shown
    assert (first.done_at, second.done_at) == (120, None)
    assert at_s >= 120
    assert second.step == first.step
    await throttle.finish()


async def test_a_message_that_is_over_has_no_time_taken_out(clock: Clock) -> None:
    screen = Screen(clock)
    throttle = EditThrottle(screen.edit, lambda: 2.0, clock=clock, unix_time=lambda: 100.0)
    throttle.show(replace(COMPOSING, done_at=120))
    await until(lambda: len(screen.shown) == 1)
    await throttle.finish()
    for _ in range(5):
        await asyncio.sleep(0)
    assert len(screen.shown) == 1


async def test_the_result_waits_neither_for_a_turn_nor_for_an_edit_that_hangs(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edit_throttle, "GRACE_FOR_LAST_S", 0.01)
    screen = Screen(clock)
    screen.gate.clear()
    throttle = EditThrottle(screen.edit, lambda: 2.0, clock=clock)
    throttle.show(COMPOSING)
    await screen.begun.wait()
    throttle.show(replace(COMPOSING, stage="b"))
    async with asyncio.timeout(HANG_S):
        await throttle.finish()
    throttle.show(replace(COMPOSING, stage="a"))
    screen.gate.set()
    await asyncio.sleep(0)
    assert screen.shown == []


async def test_an_edit_that_takes_too_long_is_given_up_and_the_next_one_tried(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edit_throttle, "EDIT_TIMEOUT_S", 0.01)
    screen = Screen(clock)
    screen.gate.clear()
    throttle = EditThrottle(screen.edit, lambda: 0.0, clock=clock)
    throttle.show(COMPOSING)
    await screen.begun.wait()
    throttle.show(replace(COMPOSING, stage="a"))
    screen.begun.clear()
    await screen.begun.wait()
    screen.gate.set()
    await until(lambda: bool(screen.shown))
    assert screen.shown[0][1].stage == "a"


async def test_a_message_that_is_gone_is_not_edited_again(clock: Clock) -> None:
    edits: list[Snapshot] = []

    async def edit(snapshot: Snapshot) -> bool:
        edits.append(snapshot)
        return False

    shown: Callable[[Snapshot], Awaitable[bool]] = edit
    throttle = EditThrottle(shown, lambda: 0.0, clock=clock)
    throttle.show(COMPOSING)
    await until(lambda: bool(edits))
    await throttle.finish()
    throttle.show(replace(COMPOSING, stage="a"))
    assert len(edits) == 1


def test_messages_in_a_busy_channel_are_edited_less_often() -> None:
    load = LiveMessageCounts()
    load.enter(1)
    assert load.interval_s(1) == 2.0
    for _ in range(3):
        load.enter(1)
    assert load.interval_s(1) == 8.0
    assert load.interval_s(2) == 2.0
    for _ in range(20):
        load.enter(1)
    assert load.interval_s(1) == 15.0
    for _ in range(23):
        load.leave(1)
    assert load.interval_s(1) == 2.0
