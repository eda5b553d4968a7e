"""The audit log in an archive: pages of events of all chains, in their order.

An event is added where it continues its chain here. Where a chain went another way here, as after
an older copy of the database was taken up again, this database's events stay, and the archive's
others are left out: with both, neither could be verified.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Any, Final

from sqlalchemy import Connection, select

from serve.maintenance.archive_rows import from_archive, to_archive
from serve.storage.assets.audit_log import NO_HASH, digest, hold_log
from serve.storage.database import Database
from serve.storage.schema.asset_tables import audit_events, audit_notes
from serve.storage.schema.tables import insert_new

_PAGE: Final = 500
_NOTE: Final = "note"
"""Beside an event's columns: what its actor wrote; absent where there is nothing, or no longer."""

EventRow = dict[str, Any]


def audit_pages(database: Database) -> Iterator[list[EventRow]]:
    """Return all events as rows of an archive, in pages.

    Raises:
        NotReady: the database does not answer.
    """
    place = "", 0
    while True:
        with database.reading() as connection:
            page = _page(connection, *place)
        if page:
            yield page
        if len(page) < _PAGE:
            return
        place = page[-1]["chain"], page[-1]["number"]


def events_from(data: bytes) -> list[EventRow]:
    """Return the events of an archive's page.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: they are none.
    """
    body = json.loads(data)
    json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
    return [_event_from(row) for row in body]


def insert_events(connection: Connection, rows: Sequence[EventRow]) -> set[str]:
    """Add a page's events that continue their chains here.

    Returns:
        The chains that went another way here.
    """
    hold_log(connection)
    by_chain: dict[str, list[EventRow]] = {}
    for row in rows:
        by_chain.setdefault(row["chain"], []).append(row)
    return {chain for chain, its in by_chain.items() if not _continue(connection, its)}


def _page(connection: Connection, chain: str, number: int) -> list[EventRow]:
    columns = audit_events.c
    is_after = (columns.chain > chain) | ((columns.chain == chain) & (columns.number > number))
    is_its = (audit_notes.c.chain == columns.chain) & (audit_notes.c.number == columns.number)
    query = select(audit_events, audit_notes.c.text.label(_NOTE)).outerjoin(audit_notes, is_its)
    query = query.where(is_after).order_by(columns.chain, columns.number).limit(_PAGE)
    rows = [to_archive(row) for row in connection.execute(query).mappings()]
    return [row if row[_NOTE] is not None else _without_note(row) for row in rows]


def _event_from(row: EventRow) -> EventRow:
    event = from_archive(audit_events, _without_note(row))
    is_whole = event.keys() == set(audit_events.c.keys()) and isinstance(event["details"], dict)
    if not is_whole or event["number"] < 1 or digest(event) != event["hash"]:
        raise ValueError("event")
    note = row.get(_NOTE)
    if note is not None:
        is_its = hashlib.sha256(note.encode()).hexdigest() == event["details"]["note_sha256"]
        if not is_its or event["image_id"] is None or "\0" in note:
            raise ValueError(_NOTE)
    return event | {_NOTE: note}


def _continue(connection: Connection, rows: Sequence[EventRow]) -> bool:
    """Add events of one chain as far as they continue it; False if it went another way here."""
    hashes = _hashes_here(connection, rows)
    new: list[EventRow] = []
    for row in rows:
        number, known_hash = row["number"], hashes.get(row["number"])
        before = NO_HASH if number == 1 else hashes.get(number - 1)
        if before != row["previous_hash"] or known_hash not in (None, row["hash"]):
            break
        if known_hash is None:
            hashes[number] = row["hash"]
            new.append(row)
    _insert(connection, new)
    return bool(hashes.get(rows[-1]["number"]) == rows[-1]["hash"])


def _hashes_here(connection: Connection, rows: Sequence[EventRow]) -> dict[int, str]:
    """Return this database's hashes of a chain, from the event before the page to its last."""
    columns = audit_events.c
    is_near = columns.number.between(rows[0]["number"] - 1, rows[-1]["number"])
    query = select(columns.number, columns.hash).where(columns.chain == rows[0]["chain"], is_near)
    return {number: known_hash for number, known_hash in connection.execute(query)}


def _insert(connection: Connection, rows: Sequence[EventRow]) -> None:
    insert_new(connection, audit_events, [_without_note(row) for row in rows])
    names = ("chain", "number", "image_id")
    notes = [
        {name: row[name] for name in names} | {"text": row[_NOTE]} for row in rows if row[_NOTE]
    ]
    insert_new(connection, audit_notes, notes)


def _without_note(row: EventRow) -> EventRow:
    return {name: value for name, value in row.items() if name != _NOTE}
