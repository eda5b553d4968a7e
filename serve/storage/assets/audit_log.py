"""The audit log: what was done with assets, when, and by whom; it is only appended to.

Every event has a hash of its own values and of the hash of the event before it, so a changed, a
moved or a missing event shows. Events that are cut off at the end do not: for that, keep the newest
hash outside the database. Each database appends to a chain of its own; an archive brings its chains
along.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Connection, RowMapping, Select, bindparam, delete, insert, select, tuple_
from ulid import ULID

from cascade_core.errors import InvalidRequest
from serve.storage.assets.asset import Actor
from serve.storage.connections import Connections, hold_lock
from serve.storage.records import iso_utc, utc_now
from serve.storage.schema.asset_tables import audit_events, audit_notes
from serve.storage.schema.tables import insert_new, server_secrets

NO_HASH: Final = "0" * 64
"""Stands before the first event of a chain."""

_CHAIN: Final = "audit_chain"
_LOCK: Final = 0x4341_5343_0005
_PAGE = 1000
_HASHED = ("chain", "number", "key_id", "key", "user", "action", "image_id", "details")


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One event.

    Attributes:
        chain, number: where it stands; numbers begin at 1 and have no gaps.
        note: what the actor wrote; empty: nothing, or it was erased.
    """

    chain: str
    number: int
    at: datetime
    actor: Actor
    action: str
    image_id: str | None
    details: Mapping[str, Any]
    note: str
    hash: str

    @property
    def id(self) -> str:
        """Its id, which is its place, too."""
        return f"{self.chain}.{self.number}"

    def to_json(self) -> dict[str, Any]:
        """Return its HTTP form."""
        return {
            "id": self.id,
            "at": iso_utc(self.at),
            "actor": self.actor.to_json(),
            "action": self.action,
            "asset": self.image_id,
            "from_state": self.details.get("from"),
            "to_state": self.details.get("to"),
            "sha256": self.details.get("sha256"),
            "details": dict(self.details),
            "note": self.note,
            "hash": self.hash,
        }


@dataclass(frozen=True, slots=True)
class ChainReport:
    """What a check of a chain found.

    Attributes:
        newest_hash: of its last sound event; kept outside, it shows that no event was cut off.
        problem: the first thing that is wrong; empty: nothing is.
    """

    chain: str
    events: int
    newest_hash: str
    problem: str = ""


class AuditLog:
    """Appends to the log and reads it; every method blocks.

    Raises:
        NotReady: the database does not answer (from every method).
    """

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def record(self, action: str, actor: Actor, details: Mapping[str, Any]) -> str:
        """Append what was done with several assets or with none; returns the event's hash."""
        with self._connections.writing() as connection:
            return append(connection, action, actor, None, details)

    def of_asset(self, image_id: str) -> list[AuditEvent]:
        """Return all that was done with an asset, oldest first."""
        query = _events().where(audit_events.c.image_id == image_id).order_by(*_BY_TIME)
        with self._connections.reading() as connection:
            return [_event(row) for row in connection.execute(query).mappings()]

    def page(self, image_id: str | None, before: str | None, limit: int) -> list[AuditEvent]:
        """Return events, newest first.

        Args:
            image_id: of the asset; None: of all, and those of none.
            before: id of the last event that is known; None: from the newest.
            limit: most events.

        Raises:
            InvalidRequest: there is no such event.
        """
        query = _events().order_by(*(column.desc() for column in _BY_TIME)).limit(limit)
        if image_id is not None:
            query = query.where(audit_events.c.image_id == image_id)
        with self._connections.reading() as connection:
            if before is not None:
                query = query.where(tuple_(*_BY_TIME) < tuple_(*_place(connection, before)))
            return [_event(row) for row in connection.execute(query).mappings()]

    def has_hash(self, wanted: str) -> bool:
        """Return True if an event has a hash."""
        query = select(audit_events.c.number).where(audit_events.c.hash == wanted)
        with self._connections.reading() as connection:
            return connection.execute(query.limit(1)).first() is not None

    def verify(self) -> list[ChainReport]:
        """Check all chains, from their first event to their last."""
        chains = select(audit_events.c.chain).distinct().order_by(audit_events.c.chain)
        with self._connections.reading() as connection:
            return [_checked(connection, one) for one in connection.execute(chains).scalars().all()]


def append(
    connection: Connection,
    action: str,
    actor: Actor,
    image_id: str | None,
    details: Mapping[str, Any],
    note: str = "",
) -> str:
    """Append an event in a transaction; returns its hash.

    Transactions that append take turns, so call this last.
    """
    hold_log(connection)
    chain = _own_chain(connection)
    newest = select(audit_events.c.number, audit_events.c.hash).where(audit_events.c.chain == chain)
    last = connection.execute(newest.order_by(audit_events.c.number.desc()).limit(1)).first()
    number, previous_hash = (1, NO_HASH) if last is None else (last.number + 1, last.hash)
    values = {
        "chain": chain,
        "number": number,
        "at": utc_now(),
        "key_id": actor.key_id,
        "key": actor.key,
        "user": actor.user,
        "action": action,
        "image_id": image_id,
        "details": dict(details) | ({"note_sha256": _sha256(note)} if note else {}),
        "previous_hash": previous_hash,
    }
    values["hash"] = digest(values)
    connection.execute(insert(audit_events).values(values))
    if note and image_id is not None:
        place = {"chain": chain, "number": number}
        connection.execute(insert(audit_notes).values(**place, image_id=image_id, text=note))
    return str(values["hash"])


def hold_log(connection: Connection) -> None:
    """Let no other transaction append until this one ends."""
    hold_lock(connection, _LOCK)


def erase_notes(connection: Connection, image_id: str) -> None:
    """Erase what people wrote of an asset in a transaction; the events keep its digests."""
    connection.execute(delete(audit_notes).where(audit_notes.c.image_id == image_id))


def digest(values: Mapping[str, Any]) -> str:
    """Return the hash of an event: SHA-256 of the hash before it and its canonical JSON."""
    at = values["at"].astimezone(UTC).isoformat()
    shown = {name: values[name] for name in _HASHED} | {"at": at}
    canonical = json.dumps(shown, sort_keys=True, separators=(",", ":"))
    return _sha256(values["previous_hash"] + canonical)


def _place(connection: Connection, event_id: str) -> tuple[Any, ...]:
    chain, _, number = event_id.rpartition(".")
    is_it = audit_events.c.chain == chain, audit_events.c.number == int(number)
    row = connection.execute(select(*_BY_TIME).where(*is_it)).first()
    if row is None:
        raise InvalidRequest("cursor must be a next_cursor of this route", "cursor")
    typed = zip(row, _BY_TIME, strict=True)
    return tuple(bindparam(None, value, column.type) for value, column in typed)


def _own_chain(connection: Connection) -> str:
    """Return the id of the chain that this database appends to; the first event makes it."""
    query = select(server_secrets.c.value).where(server_secrets.c.name == _CHAIN)
    insert_new(connection, server_secrets, [{"name": _CHAIN, "value": str(ULID())}])
    return str(connection.execute(query).scalar_one())


def _checked(connection: Connection, chain: str) -> ChainReport:
    count, newest_hash = 0, NO_HASH
    for row in _rows(connection, chain):
        if row["number"] != count + 1:
            return ChainReport(chain, count, newest_hash, f"event {count + 1} is missing")
        if row["previous_hash"] != newest_hash or row["hash"] != digest(dict(row)):
            return ChainReport(chain, count, newest_hash, f"event {count + 1} was changed")
        if row["note"] is not None and _sha256(row["note"]) != row["details"].get("note_sha256"):
            return ChainReport(chain, count, newest_hash, f"the note of {count + 1} was changed")
        count, newest_hash = count + 1, row["hash"]
    return ChainReport(chain, count, newest_hash)


def _rows(connection: Connection, chain: str) -> Iterator[RowMapping]:
    last = 0
    while True:
        query = _events().where(audit_events.c.chain == chain, audit_events.c.number > last)
        page = connection.execute(query.order_by(audit_events.c.number).limit(_PAGE)).mappings()
        rows = page.all()
        yield from rows
        if len(rows) < _PAGE:
            return
        last = rows[-1]["number"]


_BY_TIME = audit_events.c.at, audit_events.c.chain, audit_events.c.number


def _events() -> Select[Any]:
    is_its = audit_notes.c.chain == audit_events.c.chain
    is_its &= audit_notes.c.number == audit_events.c.number
    return select(audit_events, audit_notes.c.text.label("note")).outerjoin(audit_notes, is_its)


def _event(row: RowMapping) -> AuditEvent:
    names = ("chain", "number", "at", "action", "image_id", "details", "hash")
    actor = Actor(row["key_id"], row["key"], row["user"])
    return AuditEvent(actor=actor, note=row["note"] or "", **{name: row[name] for name in names})


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
