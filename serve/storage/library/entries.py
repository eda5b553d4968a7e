"""Enters pictures into the library and removes them, within the transactions that make them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, RowMapping, Select, delete, select

from cascade_core.errors import CascadeError
from cascade_core.request import GenerationRequest
from serve.storage.library.marks import Marks
from serve.storage.library.words import words_of
from serve.storage.lineage import Viewpoint
from serve.storage.schema.asset_states import DRAFT
from serve.storage.schema.asset_tables import assets
from serve.storage.schema.tables import (
    board_pictures,
    images,
    insert_new,
    jobs,
    library,
    library_words,
)

_WANTED = (
    *(images.c[name] for name in ("id", "job_id", "index", "seed", "width", "height", "ready_at")),
    *(jobs.c[name] for name in ("owner", "user", "kind", "request")),
    assets.c.state,
)
_IS_MISSING = ~select(library.c.image_id).where(library.c.image_id == images.c.id).exists()


@dataclass(frozen=True, slots=True)
class SmallFiles:
    """What is known of a picture's thumbnails.

    Attributes:
        size_bytes: of all of them; None: they are not stored.
        fingerprint: of the picture, see `cascade_core.images.fingerprint`; None: unknown.
    """

    size_bytes: int | None = None
    fingerprint: int | None = None


UNKNOWN: Final = SmallFiles()


def add_entry(connection: Connection, image_id: str, small: SmallFiles) -> None:
    """Enter a picture that this transaction has made ready, with what is known of it small."""
    row = connection.execute(_ready().where(images.c.id == image_id)).mappings().one()
    add_entries(connection, [row], small)


def unentered(
    connection: Connection, viewpoint: Viewpoint, image_ids: Sequence[str]
) -> Sequence[RowMapping]:
    """Return what :func:`add_entries` takes of those of some pictures that are not entered yet."""
    of_ids = _ready().where(_IS_MISSING, images.c.id.in_(image_ids), *viewpoint.conditions)
    return connection.execute(of_ids).mappings().all()


def missing_entries(connection: Connection, after_id: str, limit: int) -> Sequence[RowMapping]:
    """Return what :func:`add_entries` takes of pictures that are not in the library.

    They are those of an earlier release, or of an archive.

    Args:
        connection: of the transaction.
        after_id: only images whose ids come after this one.
        limit: most pictures.
    """
    query = _ready().where(_IS_MISSING, images.c.id > after_id)
    return connection.execute(query.order_by(images.c.id).limit(limit)).mappings().all()


def add_entries(
    connection: Connection, rows: Sequence[RowMapping], small: SmallFiles = UNKNOWN
) -> None:
    """Enter pictures; those that are in the library already stay as they are."""
    values = {"thumbnail_bytes": small.size_bytes, "fingerprint": small.fingerprint}
    entries = [_entry(row) | values for row in rows]
    words = [
        {"word": word} | {name: entry[name] for name in ("owner", "job_id", "index")}
        for entry in entries
        for word in sorted({*entry["words"].split(), *Marks(state=entry["state"] or "").words})
    ]
    insert_new(connection, library, entries)
    insert_new(connection, library_words, words)


def remove_entry(connection: Connection, job_id: str, index: int) -> None:
    """Remove a picture that this transaction deletes, with its marks; a missing one is no error."""
    of_picture = library.c.job_id == job_id, library.c.index == index
    # Locked, so that no mark is added meanwhile.
    row = (
        connection.execute(select(library).where(*of_picture).with_for_update()).mappings().first()
    )
    if row is None:
        return
    words = library_words.c
    # By each word, as the table is in the order of the words.
    is_own = words.word.in_(sorted({*row["words"].split(), *Marks.of(row).words}))
    gone = delete(library_words).where(is_own, words.job_id == job_id, words.index == index)
    connection.execute(gone)
    of_boards = board_pictures.c.job_id == job_id, board_pictures.c.index == index
    connection.execute(delete(board_pictures).where(*of_boards))
    connection.execute(delete(library).where(*of_picture))


def _ready() -> Select[Any]:
    query = select(*_WANTED).join(jobs, jobs.c.id == images.c.job_id)
    query = query.outerjoin(assets, assets.c.image_id == images.c.id)
    return query.where(images.c.ready_at.is_not(None), images.c.deleted_at.is_(None))


def _entry(row: RowMapping) -> dict[str, Any]:
    prompt = _prompt(row["request"], row["index"])
    return {
        **{name: row[name] for name in ("job_id", "index", "kind", "width", "height", "seed")},
        "image_id": row["id"],
        # Empty text stands for none: a primary key cannot hold NULL.
        "owner": row["owner"] or "",
        "user": row["user"] or "",
        "prompt": prompt,
        "words": " ".join(words_of(prompt)),
        "day": row["ready_at"].date().isoformat(),
        "state": None if row["state"] == DRAFT else row["state"],
    }


def _prompt(stored: dict[str, Any], index: int) -> str:
    """Return a picture's own prompt; that of its job if a later release made the job."""
    try:
        return GenerationRequest.from_stored(stored).for_image(index).prompt
    except CascadeError:
        return str(stored.get("prompt", ""))
