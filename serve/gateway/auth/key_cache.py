"""The API keys and browser sessions in memory: valid ones are known without a query per request."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

from cascade_core.errors import NotReady
from serve.storage.access.credentials import ApiKey
from serve.storage.access.sessions import Session, token_hash
from serve.storage.database import Database
from serve.storage.records import utc_now

CACHE_S = 2.0
"""A new or revoked key, and the end of a session, is known within this time."""
UNKNOWN_SESSION_CACHE_S = 0.1
"""An unknown session may have begun on another gateway; this process looks for it so often."""
GRACE_S = 60.0
"""For so long, cached keys are used while the database does not answer."""
READ_TIMEOUT_S = 5.0
"""A request waits this long for a new reading if the cached keys can be used instead."""
TOUCH_EVERY_S = 3600.0
TOUCH_SESSION_EVERY = timedelta(minutes=1)


class KeyCache:
    """All API keys and sessions in memory, read from the database again every few seconds.

    Args:
        database: where the keys are.
        clock: seconds, monotonic.
    """

    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._clock = clock
        self._keys: dict[str, ApiKey] = {}
        self._sessions: dict[str, Session] = {}
        self._read_at_s: float | None = None
        self._began_at_s = 0.0
        self._failure: NotReady | None = None
        self._reading: asyncio.Task[None] | None = None
        self._touched_at_s: dict[str, float] = {}

    async def keys(self, cache_s: float | None = None) -> dict[str, ApiKey]:
        """Return all keys by id, revoked ones included.

        Args:
            cache_s: how old they may be; by default :data:`CACHE_S`.

        Raises:
            NotReady: the database does not answer, and the keys that were read last are too old.
        """
        now_s, may_be_s = self._clock(), CACHE_S if cache_s is None else cache_s
        reading = self._reading
        if reading is None or (reading.done() and self._age_s(now_s) >= may_be_s):
            self._began_at_s = now_s
            reading = self._reading = asyncio.create_task(self._read(now_s))
        if not reading.done():
            await asyncio.wait({reading}, timeout=self._wait_s(now_s))
        if reading.done():
            reading.result()
        failure = self._failure
        if failure is not None and not self._may_use_old_keys(now_s):
            raise NotReady(failure.message, reason=failure.reason) from failure
        return self._keys

    async def refresh(self) -> None:
        """Read the keys and sessions again, so that this process knows what it has just changed.

        If the database does not answer, they are read later.
        """
        with suppress(NotReady):
            await self.keys(cache_s=0.0)

    async def session(self, token: str) -> tuple[Session, ApiKey] | None:
        """Return the session of a cookie and its key; None if it is unknown or has ended.

        Raises:
            NotReady: as :meth:`keys`.
        """
        keys, hashed = await self.keys(), token_hash(token)
        if hashed not in self._sessions:
            # Forged cookies have the table read a few times a second, however many come.
            await asyncio.sleep(UNKNOWN_SESSION_CACHE_S - self._age_s(self._clock()))
            keys = await self.keys(UNKNOWN_SESSION_CACHE_S / 2)
        session = self._sessions.get(hashed)
        key = keys.get(session.key_id) if session is not None else None
        if session is None or key is None or not session.is_valid(key):
            return None
        return session, key

    def _age_s(self, now_s: float) -> float:
        return now_s - self._began_at_s

    def _wait_s(self, now_s: float) -> float | None:
        """Return how long a request waits for a reading; None: to its end, as no keys are known.

        Without this limit a silent database would hold up every request.
        """
        is_known = self._failure is not None or self._may_use_old_keys(now_s)
        return max(0.0, self._began_at_s + READ_TIMEOUT_S - now_s) if is_known else None

    async def _read(self, now_s: float) -> None:
        try:
            keys, sessions = await self._database.run(self._stored)
        except NotReady as error:
            self._failure = error
        else:
            self._keys = {key.id: key for key in keys}
            self._sessions = {session.token_hash: session for session in sessions}
            self._read_at_s, self._failure = now_s, None

    def _stored(self) -> tuple[list[ApiKey], list[Session]]:
        return self._database.keys.all(), self._database.sessions.all()

    def _may_use_old_keys(self, now_s: float) -> bool:
        """Return True if keys are known and were read a short while ago.

        No key can be revoked while the database is away. An empty set of keys is never used when
        it is old: it would let requests of this machine in.
        """
        return bool(
            self._keys and self._read_at_s is not None and now_s - self._read_at_s < GRACE_S
        )

    async def is_valid(self, key_id: str) -> bool:
        """Return True if a key is not revoked, or if the database does not answer."""
        try:
            key = (await self.keys()).get(key_id)
        except NotReady:
            return True
        return key is not None and key.revoked_at is None

    async def is_valid_session(self, session: Session) -> bool:
        """Return True if a session has not ended, or if the database does not answer."""
        try:
            keys = await self.keys()
        except NotReady:
            return True
        now = self._sessions.get(session.token_hash)
        return now is not None and now.is_valid(keys.get(now.key_id))

    async def touch(self, key_id: str) -> None:
        """Record that a key is in use, once an hour."""
        touched_at_s, now_s = self._touched_at_s.get(key_id), self._clock()
        if touched_at_s is None or now_s - touched_at_s >= TOUCH_EVERY_S:
            self._touched_at_s[key_id] = now_s
            with suppress(NotReady):
                await self._database.run(self._database.keys.touch, key_id)

    async def touch_session(self, session: Session) -> None:
        """Record that a session is in use, once a minute."""
        if utc_now() - session.used_at >= TOUCH_SESSION_EVERY:
            # Other requests of the session see this at once, and do not record it, too.
            self._sessions[session.token_hash] = replace(session, used_at=utc_now())
            with suppress(NotReady):
                await self._database.run(self._database.sessions.touch, session.id)
