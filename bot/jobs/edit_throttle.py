"""Limits how often a live message is edited; the latest snapshot wins, one edit at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from bot.views.snapshot import Snapshot

MIN_INTERVAL_S = 2.0
MAX_INTERVAL_S = 15.0
EDIT_TIMEOUT_S = 8.0
GRACE_FOR_LAST_S = 1.5
"""How long :meth:`EditThrottle.finish` waits for an edit in flight."""


class LiveMessageCounts:
    """Counts live messages by channel; more messages make the edits of each one rarer."""

    def __init__(self) -> None:
        self._by_channel: dict[int, int] = {}

    def enter(self, channel_id: int) -> None:
        """Count one more live message in a channel."""
        self._by_channel[channel_id] = self._by_channel.get(channel_id, 0) + 1

    def leave(self, channel_id: int) -> None:
        """Count one live message less in a channel."""
        left = self._by_channel.get(channel_id, 1) - 1
        if left > 0:
            self._by_channel[channel_id] = left
        else:
            self._by_channel.pop(channel_id, None)

    def interval_s(self, channel_id: int) -> float:
        """Return the seconds between two edits of one message."""
        return min(MAX_INTERVAL_S, MIN_INTERVAL_S * self._by_channel.get(channel_id, 1))


class EditThrottle:
    """Edits a live message with the latest snapshot, one edit at a time.

    :meth:`show` returns at once; :meth:`finish` ends the edits before the outcome is shown.

    Args:
        edit: shows a snapshot; returns False if the message can no longer be edited.
        interval_s: returns the seconds between two edits; called before each edit.
        on_coalesced: called for each snapshot that is skipped.
        clock: returns monotonic seconds.
        unix_time: returns the Unix time in seconds.
    """

    def __init__(
        self,
        edit: Callable[[Snapshot], Awaitable[bool]],
        interval_s: Callable[[], float],
        on_coalesced: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        unix_time: Callable[[], float] = time.time,
    ) -> None:
        self._edit = edit
        self._interval_s = interval_s
        self._on_coalesced = on_coalesced
        self._clock = clock
        self._unix_time = unix_time
        self._newest: Snapshot | None = None
        self._latest: Snapshot | None = None
        self._shown: Snapshot | None = None
        self._last_at_s: float | None = None
        self._task: asyncio.Task[None] | None = None
        self._expiry: asyncio.Task[None] | None = None
        self._is_over = self._is_editing = False

    def show(self, snapshot: Snapshot) -> None:
        """Show a snapshot at the next possible edit; returns at once."""
        self._newest = snapshot
        is_worth = snapshot.at(self._unix_time()).is_worth_an_edit(self._shown)
        if self._is_over or not is_worth:
            return
        if self._latest is not None:
            self._on_coalesced()
        self._latest = snapshot
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())

    async def finish(self) -> None:
        """Drop the waiting snapshot; cancel an edit in flight after `GRACE_FOR_LAST_S`."""
        self._is_over, self._latest = True, None
        if self._expiry is not None:
            self._expiry.cancel()
        if self._task is None or self._task.done():
            return
        if self._is_editing:
            with suppress(TimeoutError):
                async with asyncio.timeout(GRACE_FOR_LAST_S):
                    await asyncio.shield(self._task)
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while self._latest is not None and not self._is_over:
            await self._wait_for_interval()
            snapshot, self._latest = self._latest, None
            if snapshot is None or self._is_over:
                return
            snapshot = snapshot.at(self._unix_time())
            self._last_at_s, self._is_editing = self._clock(), True
            try:
                async with asyncio.timeout(EDIT_TIMEOUT_S):
                    self._is_over = not await self._edit(snapshot) or self._is_over
                self._shown = snapshot
                self._schedule_expiry(snapshot)
            except TimeoutError:
                self._on_coalesced()
            finally:
                self._is_editing = False

    def _schedule_expiry(self, shown: Snapshot) -> None:
        """Remove the estimated time from the message once it has passed."""
        if self._expiry is not None:
            self._expiry.cancel()
        self._expiry = None
        if shown.done_at is not None and not self._is_over:
            self._expiry = asyncio.create_task(self._expire(shown.done_at))

    async def _expire(self, done_at: int) -> None:
        await asyncio.sleep(max(0.0, done_at - self._unix_time()))
        if self._newest is not None:
            self.show(self._newest)

    async def _wait_for_interval(self) -> None:
        if self._last_at_s is not None:
            wait_s = self._last_at_s + self._interval_s() - self._clock()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
