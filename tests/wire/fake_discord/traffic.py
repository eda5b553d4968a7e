"""Everything that crossed the wire, for tests to look at and for the oracle to judge."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from tests.wire.fake_discord.messages import Upload


@dataclass(eq=False)
class Exchange:
    """A REST request and its answer.

    Attributes:
        path: below the API's base, without the query.
        status: None as long as there is no answer; also where the connection was cut.
        is_injected: the answer came from a fault of the test, not from the emulator.
    """

    method: str
    path: str
    at_s: float
    query: dict[str, str] = field(default_factory=dict)
    json: Any = None
    files: dict[int, Upload] = field(default_factory=dict)
    status: int | None = None
    response: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    is_injected: bool = False

    def matches(self, method: str, path: str) -> bool:
        """Return True if the method (``*`` for any) and the path's regular expression fit."""
        return method in ("*", self.method) and bool(re.search(path, self.path))

    def __str__(self) -> str:
        return f"{self.method} {self.path} -> {self.status}"


@dataclass(frozen=True)
class Frame:
    """A gateway payload that went over the wire; events are numbered from 1."""

    shard: int
    op: int
    data: Any
    event: str | None = None
    seq: int = 0


@dataclass
class Traffic:
    """All that was said, in order.

    Attributes:
        rest: the application's REST requests.
        sent: gateway payloads to the application; ``received``: from it.
        downloads: paths that were asked of the content network.
        breakdowns: requests that the emulator could not answer because it is wrong itself.
    """

    rest: list[Exchange] = field(default_factory=list)
    sent: list[Frame] = field(default_factory=list)
    received: list[Frame] = field(default_factory=list)
    downloads: list[str] = field(default_factory=list)
    breakdowns: list[str] = field(default_factory=list)

    def requests(
        self, method: str = "*", path: str = "", status: int | None = None
    ) -> list[Exchange]:
        """Return the REST requests that fit a method, a path's regular expression, a status."""
        fitting = [e for e in self.rest if e.matches(method, path)]
        return [e for e in fitting if status in (None, e.status)]

    def events(self, name: str) -> list[Frame]:
        """Return the gateway events of a name."""
        return [frame for frame in self.sent if frame.event == name]

    def ops(self, op: int) -> list[Frame]:
        """Return the gateway payloads of a kind that came from the application."""
        return [frame for frame in self.received if frame.op == op]

    def tail(self, count: int = 12) -> str:
        """Return the last REST requests, one a line."""
        return "\n".join(str(exchange) for exchange in self.rest[-count:])
