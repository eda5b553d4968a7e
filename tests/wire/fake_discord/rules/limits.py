"""Rate limits as Discord has them: buckets with headers, hidden ones, and a global one."""

from __future__ import annotations

import hashlib
import re
import time
from collections import defaultdict, deque
from dataclasses import dataclass

from tests.wire.fake_discord.errors import RateLimitedError
from tests.wire.fake_discord.traffic import Exchange

_APART = ("/interactions/", "/webhooks/")  # not counted by the global limit


@dataclass(frozen=True)
class Limit:
    """At most so many requests per window.

    Attributes:
        path: a regular expression; what its group matches has a bucket of its own.
        is_hidden: the headers do not tell of it.
    """

    method: str
    path: str
    requests: int
    window_s: float
    is_hidden: bool = False

    def bucket(self, exchange: Exchange) -> str | None:
        """Return the bucket that counts a request."""
        found = re.search(self.path, exchange.path)
        if found is None or self.method not in ("*", exchange.method):
            return None
        return f"{self.method} {self.path} {found.groups()}"


# Values that others measured; Discord does not promise them, so an application must obey headers.
DEFAULT = (
    Limit("POST", r"^/channels/(\d+)/messages$", 5, 5.0),
    Limit("PATCH", r"^/channels/(\d+)/messages/", 5, 5.0),
    Limit("*", r"^/webhooks/(\d+/[^/]+)", 5, 2.0),
)
GLOBAL = Limit("*", "", 50, 1.0)


class Limits:
    """Counts requests in real time, since the application really waits."""

    def __init__(self) -> None:
        self.limits: tuple[Limit, ...] = DEFAULT
        self._taken: dict[str, deque[float]] = defaultdict(deque)

    def take(self, exchange: Exchange) -> dict[str, str]:
        """Count a request; returns the headers of its bucket.

        Raises:
            RateLimitedError: a bucket is full.
        """
        if not exchange.path.startswith(_APART):
            self._count(GLOBAL, "global", "global")
        headers: dict[str, str] = {}
        for limit in self.limits:
            bucket = limit.bucket(exchange)
            if bucket is not None:
                headers |= self._count(limit, bucket, "shared" if limit.is_hidden else "user")
        return headers

    def _count(self, limit: Limit, bucket: str, scope: str) -> dict[str, str]:
        now_s, taken = time.time(), self._taken[bucket]
        while taken and now_s - taken[0] >= limit.window_s:
            taken.popleft()
        is_full = len(taken) >= limit.requests
        if not is_full:
            taken.append(now_s)
        reset_after_s = limit.window_s - (now_s - taken[0])
        headers = {} if limit.is_hidden else _headers(limit, len(taken), now_s, reset_after_s)
        if is_full:
            error = RateLimitedError(reset_after_s, scope)
            error.headers |= headers
            raise error
        return headers if limit is not GLOBAL else {}


def _headers(limit: Limit, taken: int, now_s: float, reset_after_s: float) -> dict[str, str]:
    name = hashlib.sha256(f"{limit.method} {limit.path}".encode()).hexdigest()[:32]
    return {
        "X-RateLimit-Limit": str(limit.requests),
        "X-RateLimit-Remaining": str(limit.requests - taken),
        "X-RateLimit-Reset": f"{now_s + reset_after_s:.3f}",
        "X-RateLimit-Reset-After": f"{reset_after_s:.3f}",
        "X-RateLimit-Bucket": name,
    }
