"""Turns at a stage: users share it by the work they ask for, not by how often they ask.

Start-time fair queueing (Goyal, Vin and Cheng, 1996). Each waiting call carries a tag: where its
user's work begins on a clock that counts work instead of seconds; the smallest tag goes next. So a
user with a hundred calls waiting holds up nobody else's first one by more than what is under way.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

Waiting = tuple[float, int, float, asyncio.Future[None]]
"""Tag, order of arrival, cost, and what wakes the call."""


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
        self._ends: dict[str, float] = {}
        self._waiting: list[Waiting] = []
        self._arrivals = itertools.count()

    @property
    def waiting_calls(self) -> int:
        """How many calls wait."""
        return sum(not turn.done() for _, _, _, turn in self._waiting)

    @property
    def waiting_cost(self) -> float:
        """The cost of all waiting calls, in the unit of :meth:`turn`."""
        return sum(cost for _, _, cost, turn in self._waiting if not turn.done())

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
        start = max(self._clock, self._ends.get(user, 0.0))
        self._ends[user] = start + cost
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (start, next(self._arrivals), cost, turn))
        self._wake()
        try:
            await turn
            yield
        finally:
            # A call cancelled in the moment of its turn had been given one, too.
            if turn.done() and not turn.cancelled():
                self._running -= 1
                self._wake()

    def _wake(self) -> None:
        while self._waiting and self._running < self._width:
            start, _, _, turn = heapq.heappop(self._waiting)
            if turn.done():  # cancelled while it waited
                continue
            self._clock = start
            self._running += 1
            turn.set_result(None)
        if not self._waiting and self._running == 0:
            # Nobody has claims any more; forgetting them keeps the table of users small.
            self._clock = 0.0
            self._ends.clear()
