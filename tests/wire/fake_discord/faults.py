"""Bad days: answers that fail, come late, or never."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.wire.fake_discord.traffic import Exchange


@dataclass(eq=False)
class Fault:
    """What happens to requests that fit.

    Attributes:
        times: how many more requests it happens to; None is all of them.
        when: also has to be true of the request.
        status: the answer; None leaves it to the emulator, after the delay.
        body: JSON, or text as the edge before Discord answers.
        delay_s: how long the answer takes.
        released: an answer waits for it.
        after_effect: the emulator does its work first, and its answer comes late or is lost.
        hangs_up: the connection is cut instead of an answer.
        used: how many requests it happened to.
    """

    method: str = "*"
    path: str = ""
    times: int | None = 1
    when: Callable[[Exchange], bool] = lambda _: True
    status: int | None = None
    body: Any = field(default_factory=lambda: {"message": "injected", "code": 0})
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    released: asyncio.Event | None = None
    after_effect: bool = False
    hangs_up: bool = False
    used: int = 0

    @property
    def is_only_late(self) -> bool:
        """The answer is the emulator's own."""
        return self.status is None and not self.hangs_up

    def fits(self, exchange: Exchange) -> bool:
        """Return True if it happens to a request."""
        is_left = self.times is None or self.used < self.times
        return is_left and exchange.matches(self.method, self.path) and self.when(exchange)

    def release(self) -> None:
        """Let what was held go on."""
        assert self.released is not None
        self.released.set()

    async def wait(self) -> None:
        """Take as long as the fault says."""
        await asyncio.sleep(self.delay_s)
        if self.released is not None:
            await self.released.wait()


class Faults:
    """The faults of a test; the first that fits a request happens to it."""

    def __init__(self) -> None:
        self.all: list[Fault] = []

    def add(self, method: str, path: str, **attributes: Any) -> Fault:
        """Add a fault for requests whose path fits a regular expression."""
        self.all.append(fault := Fault(method, path, **attributes))
        return fault

    def rate_limit(
        self, method: str, path: str, retry_after_s: float, is_global: bool = False, times: int = 1
    ) -> Fault:
        """Answer 429 with a time to wait."""
        body = {
            "message": "You are being rate limited.",
            "code": 0,
            "retry_after": retry_after_s,
            "global": is_global,
        }
        headers = {"Retry-After": str(retry_after_s)}
        return self.add(method, path, status=429, body=body, headers=headers, times=times)

    def ban(self, method: str, path: str, times: int = 1) -> Fault:
        """Answer 429 as the edge before Discord does: a page, and no way that it came by."""
        return self.add(method, path, status=429, body="error code: 1015", times=times)

    def stall(self, method: str, path: str, times: int = 1) -> Fault:
        """Hold requests until the fault is released."""
        return self.add(method, path, released=asyncio.Event(), times=times)

    def clear(self) -> None:
        """End all faults; what is held goes on."""
        for fault in self.all:
            if fault.released is not None:
                fault.release()
        self.all.clear()

    def take(self, exchange: Exchange) -> Fault | None:
        """Return the fault that happens to a request, counted as used."""
        fault = next((f for f in self.all if f.fits(exchange)), None)
        if fault is not None:
            fault.used += 1
        return fault
