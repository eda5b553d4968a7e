"""Changes the marks of pictures, and the words by which they are found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, delete, select, update

from serve.storage.library.marks import Marks
from serve.storage.schema.tables import insert_new, library, library_words

Change = Callable[[Marks], Marks]


def change_marks(connection: Connection, image_ids: Sequence[str], change: Change) -> list[str]:
    """Change the marks of pictures in a transaction; returns the ids of those that changed.

    Args:
        connection: of the transaction, which writes.
        image_ids: of pictures in the library; others are left out.
        change: returns the new marks of a picture for its present ones.
    """
    marked = select(library).where(library.c.image_id.in_(image_ids))
    # Two transactions that lock pictures in the same order never wait for each other.
    marked = marked.order_by(library.c.job_id, library.c.index).with_for_update()
    changed = []
    for row in connection.execute(marked).mappings():
        before = Marks.of(row)
        after = change(before)
        if after != before:
            changed.append((row, before, after))
    _update(connection, [_place(row) | after.columns for row, _, after in changed])
    gone = [
        _place(row) | {"gone": word}
        for row, before, after in changed
        for word in sorted(before.words - after.words)
    ]
    _remove_words(connection, gone)
    new = [
        {"word": word} | {name: row[name] for name in ("owner", "job_id", "index")}
        for row, before, after in changed
        for word in sorted(after.words - before.words)
    ]
    insert_new(connection, library_words, new)
    return [row["image_id"] for row, *_ in changed]


def _place(row: Any) -> dict[str, Any]:
    return {"of_job": row["job_id"], "of_index": row["index"]}


def _update(connection: Connection, rows: list[dict[str, Any]]) -> None:
    if not rows:
        return
    of_row = library.c.job_id == bindparam("of_job"), library.c.index == bindparam("of_index")
    values: dict[str, Any] = {name: bindparam(f"new_{name}") for name in Marks().columns}
    named = [
        {name if name.startswith("of_") else f"new_{name}": value for name, value in row.items()}
        for row in rows
    ]
    connection.execute(update(library).where(*of_row).values(values), named)


def _remove_words(connection: Connection, rows: list[dict[str, Any]]) -> None:
    if rows:
        one = library_words.c
        of_row = one.job_id == bindparam("of_job"), one.index == bindparam("of_index")
        connection.execute(
            delete(library_words).where(one.word == bindparam("gone"), *of_row), rows
        )
