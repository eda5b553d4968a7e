"""The fair queue of calls to a stage: users share the stage by work, not by number of calls.

Start-time fair queueing (Goyal, Vin and Cheng, 1996). Each user with waiting calls carries a tag:
where the user's next work begins on a clock that counts work instead of seconds. The user with the
smallest tag gets the next slot. So a user with a hundred waiting calls delays the first call of
another user only by the calls that already run. A call is charged when it gets its slot; a call
that leaves before costs nothing.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

REMEMBERED_USERS = 1000
"""So many users without waiting calls are remembered: those with the largest use."""


@dataclass(frozen=True, slots=True)
class _Call:
    order: int
    cost: float


@dataclass(slots=True)
class _UserQueue:
    """The waiting calls of one user.

    Attributes:
        start: the tag of the oldest call.
        calls: oldest first, by the future that wakes each.
    """

    start: float
    calls: dict[asyncio.Future[None], _Call] = field(default_factory=dict)

    @property
    def rank(self) -> tuple[float, int]:
        """Tag and order of arrival of the oldest call; the queue of the least rank goes next."""
        return self.start, next(iter(self.calls.values())).order


class FairQueue:
    """Lets at most ``width`` calls run at once, fairly; for one event loop.

    Args:
        width: how many calls the stage works on at a time; 0 holds all calls back. It may change
            at any moment.
    """

    def __init__(self, width: int) -> None:
        self._width = width
        self._running = 0
        self._clock = 0.0
        self._queues: dict[str, _UserQueue] = {}
        self._ends: dict[str, float] = {}
        self._arrivals = itertools.count()

    @property
    def waiting_calls(self) -> int:
        """How many calls wait."""
        return sum(len(queue.calls) for queue in self._queues.values())

    @property
    def waiting_cost(self) -> float:
        """The cost of all waiting calls, in the unit of :meth:`slot`."""
        return sum(call.cost for queue in self._queues.values() for call in queue.calls.values())

    def set_width(self, width: int) -> None:
        """Follow the stage when it grows or shrinks; running calls go on."""
        self._width = width
        self._fill_slots()

    @asynccontextmanager
    async def slot(self, user: str, cost: float) -> AsyncIterator[None]:
        """Wait for a slot; leaving the block, or being cancelled, gives it back.

        Args:
            user: the user to charge.
            cost: expected work in any unit that all callers share, above 0.
        """
        queue = self._queues.get(user)
        if queue is None:
            queue = self._queues[user] = _UserQueue(max(self._clock, self._ends.get(user, 0.0)))
        slot: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.calls[slot] = _Call(next(self._arrivals), cost)
        self._fill_slots()
        try:
            await slot
            yield
        finally:
            if slot.cancelled():
                self._remove(user, slot)
            else:  # also if it was cancelled in the moment it got its slot
                self._running -= 1
                self._fill_slots()

    def _fill_slots(self) -> None:
        while self._queues and self._running < self._width:
            user, queue = min(self._queues.items(), key=lambda item: item[1].rank)
            slot = next(iter(queue.calls))
            if slot.cancelled():  # its call has not left yet
                self._remove(user, slot)
                continue
            self._clock = queue.start
            queue.start += queue.calls[slot].cost
            self._ends[user] = queue.start
            self._remove(user, slot)
            self._running += 1
            slot.set_result(None)
        self._forget_users()

    def _remove(self, user: str, slot: asyncio.Future[None]) -> None:
        """Remove a call from its user's queue, if it is still there."""
        queue = self._queues.get(user)
        if queue is not None and queue.calls.pop(slot, None) is not None and not queue.calls:
            del self._queues[user]

    def _forget_users(self) -> None:
        """Keep the table of users small."""
        if not self._queues and self._running < self._width:
            # Every user got all requested work, so all users start equal.
            self._clock = 0.0
            self._ends.clear()
        elif len(self._ends) > 2 * REMEMBERED_USERS:
            most = heapq.nlargest(REMEMBERED_USERS, self._ends.items(), key=lambda item: item[1])
            self._ends = dict(most)
