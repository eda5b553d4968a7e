"""Browser sessions: a key's sign-in on one device, known by the hash of its cookie."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, insert, or_, select, update

from serve.storage.access.credentials import ApiKey
from serve.storage.connections import Connections
from serve.storage.records import iso_utc, utc_now
from serve.storage.schema.tables import sessions

IDLE = timedelta(hours=12)
"""A session ends when nothing has used it for this time."""
LIFETIME = timedelta(days=7)
"""A session ends at this age, however much it is used."""
MAX_PER_KEY = 100
"""A further sign-in ends the key's session that was used the longest time ago."""
_TOKEN_BYTES = 32


@dataclass(frozen=True, slots=True)
class Session:
    """A stored session.

    Attributes:
        id: public; its owner ends the session by it.
        token_hash: SHA-256 of the cookie's value, hexadecimal.
        used_at: accurate to a minute.
        expires_at: :data:`LIFETIME` after the sign-in.
    """

    id: str
    token_hash: str
    key_id: str
    created_at: datetime
    used_at: datetime
    expires_at: datetime

    @property
    def ends_at(self) -> datetime:
        """Return when it ends, unless it is used before."""
        return min(self.expires_at, self.used_at + IDLE)

    def is_valid(self, key: ApiKey | None) -> bool:
        """Return True if it has not ended.

        Args:
            key: the one that signed in, as it is now; None if it is not known.
        """
        return key is not None and key.revoked_at is None and self.ends_at > utc_now()

    def to_json(self) -> dict[str, str | None]:
        """Return the session's JSON form for its owner, without the hash."""
        return {
            "id": self.id,
            "created_at": iso_utc(self.created_at),
            "used_at": iso_utc(self.used_at),
            "expires_at": iso_utc(self.expires_at),
        }


class SessionStore:
    """The sessions in the database; every method blocks."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def create(self, key_id: str) -> tuple[Session, str]:
        """Make a session of a key; returns it and the cookie's value, which is not stored.

        Sessions that have ended are deleted, and those of the key above :data:`MAX_PER_KEY`.
        """
        token, now = secrets.token_urlsafe(_TOKEN_BYTES), utc_now()
        made = Session(
            id=secrets.token_hex(8),
            token_hash=token_hash(token),
            key_id=key_id,
            created_at=now,
            used_at=now,
            expires_at=now + LIFETIME,
        )
        table = sessions.c
        ended = or_(table.expires_at <= now, table.used_at <= now - IDLE)
        kept = (
            select(table.id)
            .where(table.key_id == key_id)
            .order_by(table.used_at.desc(), table.id)
            .limit(MAX_PER_KEY - 1)
        )
        with self._connections.writing() as connection:
            connection.execute(delete(sessions).where(ended))
            connection.execute(
                delete(sessions).where(table.key_id == key_id, table.id.not_in(kept))
            )
            connection.execute(insert(sessions).values(_row(made)))
        return made, token

    def all(self) -> list[Session]:
        """Return all sessions, latest sign-in first; some may have ended."""
        query = select(sessions).order_by(sessions.c.created_at.desc(), sessions.c.id)
        with self._connections.reading() as connection:
            return [Session(**row) for row in connection.execute(query).mappings()]

    def end(self, key_id: str, session_id: str) -> bool:
        """End a session of a key; returns False if the key has no such session."""
        owned = (sessions.c.key_id == key_id, sessions.c.id == session_id)
        with self._connections.writing() as connection:
            return connection.execute(delete(sessions).where(*owned)).rowcount > 0

    def touch(self, session_id: str) -> None:
        """Record that a session was used now."""
        used = update(sessions).where(sessions.c.id == session_id)
        with self._connections.writing() as connection:
            connection.execute(used.values(used_at=utc_now()))


def token_hash(token: str) -> str:
    """Return what is stored of a cookie's value, 256 random bits that no fast hash reveals."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def _row(session: Session) -> dict[str, Any]:
    return {column.name: getattr(session, column.name) for column in sessions.c}
