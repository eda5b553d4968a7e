"""Turns at a stage: users share it by the work they ask for, not by how often they ask.

Start-time fair queueing (Goyal, Vin and Cheng, 1996). Each user with waiting calls carries a tag:
where the user's next work begins on a clock that counts work instead of seconds; the smallest tag
goes next. So a user with a hundred calls waiting holds up the first one of another by no more
than what is under way. A call is charged when its turn comes: one that leaves before costs nothing.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

REMEMBERED_USERS = 1000
"""Of users without waiting calls so many are remembered, those who have used most."""


@dataclass(frozen=True, slots=True)
class _Call:
    order: int
    cost: float


@dataclass(slots=True)
class _Line:
    """The waiting calls of one user, oldest first, by what wakes them.

    Attributes:
        start: the tag of the oldest one.
        calls: by what wakes each.
    """

    start: float
    calls: dict[asyncio.Future[None], _Call] = field(default_factory=dict)

    @property
    def rank(self) -> tuple[float, int]:
        """Tag and order of arrival of the oldest call; the least of all lines goes next."""
        return self.start, next(iter(self.calls.values())).order


class Turns:
    """Lets at most ``width`` calls go on at once, fairly; for one event loop.

    Args:
        width: how many calls the stage works on at a time, 0 holds all back; may change at any
            moment.
    """

    def __init__(self, width: int) -> None:
        self._width = width
        self._running = 0
        self._clock = 0.0
        self._lines: dict[str, _Line] = {}
        self._ends: dict[str, float] = {}
        self._arrivals = itertools.count()

    @property
    def waiting_calls(self) -> int:
        """How many calls wait."""
        return sum(len(line.calls) for line in self._lines.values())

    @property
    def waiting_cost(self) -> float:
        """The cost of all waiting calls, in the unit of :meth:`turn`."""
        return sum(call.cost for line in self._lines.values() for call in line.calls.values())

    @property
    def remembered_users(self) -> int:
        """How many users are known."""
        return len(self._lines.keys() | self._ends.keys())

    def set_width(self, width: int) -> None:
        """Follow the stage when it grows or shrinks; what is under way goes on."""
        self._width = width
        self._wake()

    @asynccontextmanager
    async def turn(self, user: str, cost: float) -> AsyncIterator[None]:
        """Wait for the user's turn; leaving the block, or being cancelled, gives it back.

        Args:
            user: whose work it is.
            cost: expected work in any unit that all callers share, above 0.
        """
        line = self._lines.get(user)
        if line is None:
            line = self._lines[user] = _Line(max(self._clock, self._ends.get(user, 0.0)))
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        line.calls[turn] = _Call(next(self._arrivals), cost)
        self._wake()
        try:
            await turn
            yield
        finally:
            if turn.cancelled():
                self._leave(user, turn)
            else:  # also when it was cancelled in the moment of its turn
                self._running -= 1
                self._wake()

    def _wake(self) -> None:
        while self._lines and self._running < self._width:
            user, line = min(self._lines.items(), key=lambda item: item[1].rank)
            turn = next(iter(line.calls))
            if turn.cancelled():  # it has not left yet
                self._leave(user, turn)
                continue
            self._clock = line.start
            line.start += line.calls[turn].cost
            self._ends[user] = line.start
            self._leave(user, turn)
            self._running += 1
            turn.set_result(None)
        self._forget()

    def _leave(self, user: str, turn: asyncio.Future[None]) -> None:
        """Take a call out of its user's line, if it is still there."""
        line = self._lines.get(user)
        if line is not None and line.calls.pop(turn, None) is not None and not line.calls:
            del self._lines[user]

    def _forget(self) -> None:
        """Keep the table of users small."""
        if not self._lines and self._running < self._width:
            # Each has had all that was asked for, so all begin alike.
            self._clock = 0.0
            self._ends.clear()
        elif len(self._ends) > 2 * REMEMBERED_USERS:
            most = heapq.nlargest(REMEMBERED_USERS, self._ends.items(), key=lambda item: item[1])
            self._ends = dict(most)
