"""Counts what a process asks of its database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import event

from serve.storage.database import Database


@dataclass
class Statements:
    """The statements of some transactions, without the ones that begin and end them."""

    transactions: int = 0
    made: list[tuple[str, Any]] = field(default_factory=list)
    """Each statement with its parameters."""


@contextmanager
def counted(database: Database) -> Iterator[Statements]:
    """Count the transactions and statements of a database until the block ends."""
    found = Statements()

    def begin(_connection: object) -> None:
        found.transactions += 1

    def execute(_connection: object, _cursor: object, statement: str, values: Any, *_: Any) -> None:
        if not statement.startswith("BEGIN"):
            found.made.append((statement, values))

    listeners = {"begin": begin, "before_cursor_execute": execute}
    for name, listener in listeners.items():
        event.listen(database._engine, name, listener)
    yield found
    for name, listener in listeners.items():
        event.remove(database._engine, name, listener)
