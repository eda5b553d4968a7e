"""Waiting for the world to become what a test expects, without sleeping."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Changes:
    """Wakes all waiting tasks after every change."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Event] = set()

    def announce(self) -> None:
        """Wake all waiting tasks."""
        for event in self._waiting:
            event.set()

    async def wait_for(
        self, predicate: Callable[[], T], timeout_s: float, describe: Callable[[], str]
    ) -> T:
        """Return the first true value of the predicate, asked again after each change.

        Raises:
            AssertionError: it stayed false; the message says what the world looked like.
        """
        event = asyncio.Event()
        self._waiting.add(event)
        try:
            async with asyncio.timeout(timeout_s):
                while not (found := predicate()):
                    event.clear()
                    await event.wait()
            return found
        except TimeoutError:
            raise AssertionError(f"not within {timeout_s} s; {describe()}") from None
        finally:
            self._waiting.discard(event)
