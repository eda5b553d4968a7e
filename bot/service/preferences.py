"""Small values that the service stores for the bot, with a cache in memory."""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import fields
from typing import Any, Generic, TypeVar
from weakref import WeakValueDictionary

Key = TypeVar("Key")
Value = TypeVar("Value")


class Preferences(Generic[Key, Value]):
    """A cache of stored values by key; changes of one value run one after another.

    Args:
        load: loads a value from the service.
        store: stores a value in the service.
        fresh_s: seconds for which a cached value is used.
        most: size of the cache; the least recently used values go first.
    """

    def __init__(
        self,
        load: Callable[[Key], Awaitable[Value]],
        store: Callable[[Key, Value], Awaitable[None]],
        *,
        fresh_s: float = math.inf,
        most: int,
    ) -> None:
        self._load = load
        self._store = store
        self._fresh_s = fresh_s
        self._most = most
        self._known: OrderedDict[Key, tuple[float, Value]] = OrderedDict()
        self._locks: WeakValueDictionary[Key, asyncio.Lock] = WeakValueDictionary()

    async def get(self, key: Key) -> Value:
        """Return a value from the cache or the service.

        Raises:
            CascadeError: the value is not cached, and the service does not answer.
        """
        async with self._lock(key):
            known = self._known.get(key)
            if known is None or time.monotonic() - known[0] > self._fresh_s:
                return self._remember(key, await self._load(key))
            self._known.move_to_end(key)
            return known[1]

    async def change(self, key: Key, change: Callable[[Value], Value]) -> Value:
        """Change a value and return the new one.

        Raises:
            CascadeError: the service does not answer; the value may have changed or not.
        """
        async with self._lock(key):
            self._known.pop(key, None)
            before = await self._load(key)
            after = change(before)
            if after != before:
                await self._store(key, after)
            return self._remember(key, after)

    def _remember(self, key: Key, value: Value) -> Value:
        self._known[key] = (time.monotonic(), value)
        self._known.move_to_end(key)
        while len(self._known) > self._most:
            self._known.popitem(last=False)
        return value

    def _lock(self, key: Key) -> asyncio.Lock:
        return self._locks.setdefault(key, asyncio.Lock())


def known_fields(cls: type, value: dict[str, Any] | None) -> dict[str, Any]:
    """Return the items of a stored value that are fields of a dataclass."""
    names = {field.name for field in fields(cls)}
    return {name: item for name, item in (value or {}).items() if name in names}
