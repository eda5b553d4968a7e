"""Limits of what clients may ask for: requests per minute, held open, and at a time."""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from weakref import WeakValueDictionary

from cascade_core.errors import NotReady, RateLimited
from serve.storage.records import JobOwner

MAX_BUCKETS = 100_000
_FULL_AFTER_S = 60.0
HELD_RETRY_AFTER_S = 5.0
SHARED_PER_IMAGE, SHARED_PER_CLIENT = 1200, 300
"""Requests for shared images per minute that a gateway process answers."""
WRONG_KEYS_PER_CLIENT, WRONG_KEYS_OF_ALL = 10, 60
"""Tries to sign in without a valid key, per minute, that a gateway process answers."""
SIGN_INS_PER_KEY = 60
"""Per minute; each one is stored."""


class RateLimiter:
    """A token bucket per name, in this process's memory.

    A bucket holds one minute's requests: a key may send that many at once and then goes on at its
    rate. Each gateway process counts for itself, so behind n processes a key gets at most n times
    its limit. This stops a runaway client and costs no database query per request.

    Args:
        message: of the error, with ``{}`` for the limit.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        message: str = "this key may send {} requests per minute",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._message = message
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}  # ordered by last use, latest last

    def take(self, name: str, per_minute: int, cost: float = 1.0) -> None:
        """Count one request.

        Args:
            name: of the bucket.
            per_minute: its limit; 0 means no limit.
            cost: how many requests it counts as.

        Raises:
            RateLimited: the bucket is empty; says after how many seconds it is not.
        """
        if per_minute == 0:
            return
        now_s, per_s = self._clock(), per_minute / 60
        left, since_s = self._buckets.pop(name, (float(per_minute), now_s))
        left = min(float(per_minute), left + (now_s - since_s) * per_s)
        is_empty = left < cost
        self._buckets[name] = (left if is_empty else left - cost), now_s
        self._forget(now_s)
        if is_empty:
            raise RateLimited(self._message.format(per_minute), None, (cost - left) / per_s)

    def _forget(self, now_s: float) -> None:
        """Drop buckets that are full again, and the oldest ones above the maximum."""
        while self._buckets:
            name, (_, since_s) = next(iter(self._buckets.items()))
            if now_s - since_s < _FULL_AFTER_S and len(self._buckets) <= MAX_BUCKETS:
                return
            del self._buckets[name]


class StreamLimiter:
    """Limits the event streams and waiting requests that one gateway process holds open.

    One held request costs little, but Serve gives a replica a fixed number of requests at a time:
    without a limit, idle streams would block all other requests.

    Args:
        total: maximum over all keys.
        per_key: maximum of one key.
    """

    def __init__(self, total: int, per_key: int) -> None:
        self._total = total
        self._per_key = per_key
        self._counts: Counter[str | None] = Counter()

    @property
    def count(self) -> int:
        """Return how many requests are held open."""
        return self._counts.total()

    @contextmanager
    def hold(self, key_id: str | None) -> Iterator[None]:
        """Count one request of a key while the block runs.

        Raises:
            RateLimited: the key has too many open.
            NotReady: all keys together have too many open.
        """
        if self._counts[key_id] >= self._per_key:
            message = f"this key may hold {self._per_key} streams and waiting requests open"
            raise RateLimited(message, None, HELD_RETRY_AFTER_S)
        if self.count >= self._total:
            raise NotReady("too many streams and waiting requests are open; try again later")
        self._counts[key_id] += 1
        try:
            yield
        finally:
            self._counts[key_id] -= 1
            if not self._counts[key_id]:
                del self._counts[key_id]


class OwnerTurns:
    """Lets one request of each owner go on at a time; the owner's others wait for their turn.

    So many large uploads of one owner delay another owner's by one alone.
    """

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[JobOwner, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def turn(self, owner: JobOwner) -> AsyncIterator[None]:
        """Wait until no other request of this owner runs such a block."""
        lock = self._locks.setdefault(owner, asyncio.Lock())
        async with lock:
            yield


class SharedImageLimiter:
    """Limits requests for shared images, which come without an API key.

    Args:
        knows_clients: requests come from the client's own address, not from a proxy's.
    """

    def __init__(self, knows_clients: bool) -> None:
        self._knows_clients = knows_clients
        self._images = RateLimiter("this picture may be asked for {} times per minute")
        self._clients = RateLimiter("you may ask for {} shared pictures per minute")

    def take(self, image_id: str, address: str) -> None:
        """Count one request for an image from a client's address.

        Raises:
            RateLimited: of the image or by the client, too many requests came.
        """
        if self._knows_clients:
            self._clients.take(_client_network(address), SHARED_PER_CLIENT)
        self._images.take(image_id, SHARED_PER_IMAGE)


class SignInLimiter:
    """Limits requests that bring an API key in their body.

    Valid keys are counted by key. So clients with wrong keys cannot keep others from signing in,
    also where all clients come from one address.

    Args:
        knows_clients: requests come from the client's own address, not from a proxy's; if not, the
            wrong keys of all clients share one limit.
    """

    def __init__(self, knows_clients: bool) -> None:
        self._knows_clients = knows_clients
        self._tries = RateLimiter("{} tries to sign in per minute are allowed")

    def take(self, key_id: str | None, address: str) -> None:
        """Count one try.

        Args:
            key_id: of the valid key that it brings; None: it brings none.
            address: of the client.

        Raises:
            RateLimited: too many came.
        """
        if key_id is not None:
            self._tries.take(f"key {key_id}", SIGN_INS_PER_KEY)
        elif self._knows_clients:
            self._tries.take(_client_network(address), WRONG_KEYS_PER_CLIENT)
        else:
            self._tries.take("", WRONG_KEYS_OF_ALL)


def _client_network(address: str) -> str:
    """Return the part of an address that one client cannot change at will: IPv6's /64 network."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is None:
        return str(ipaddress.ip_network((found, 64), strict=False))
    return str(found)
