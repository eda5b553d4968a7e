"""PostgreSQL that does not answer: how long a process waits for it, and for what.

A server that is overloaded ends statements by its own time-outs. TCP notices one that is gone. One
that is frozen, or a proxy whose server is gone, does neither: the client has to give up.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import psycopg
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus
from sqlalchemy import Connection, Engine, event, text

CONNECTION: Final = {
    "connect_timeout": "5",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "15000",
}
"""Parameters of libpq: seconds until a connection attempt fails, and until one whose other side is
gone breaks (``tcp_user_timeout`` in milliseconds, on Linux)."""
_SESSION: Final = {
    "statement_timeout": "30s",
    "lock_timeout": "10s",
    "idle_in_transaction_session_timeout": "60s",
}
"""Time-outs of the server, for each session."""
ANSWER_S: Final = 40.0
"""Longer than any statement may take: then the server is taken for frozen."""


class BoundedConnection(psycopg.Connection[Any]):
    """A connection that waits for each answer for a limited time, then closes itself.

    Attributes:
        answer_s: seconds; None: any time.
    """

    answer_s: float | None = ANSWER_S

    def wait(self, gen: PQGen[Any], interval: float = 0.1, timeout: float | None = None) -> Any:
        """Do one exchange with the server.

        Raises:
            psycopg.OperationalError: the server did not answer in time, among others.
        """
        if timeout is not None:
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(gen, interval, self.answer_s)
        except psycopg.OperationalError:
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                self.close()  # a late answer would be taken for that to the next question
            raise


def bound(engine: Engine) -> None:
    """Give every connection of an engine the limits above, but for those that its URL sets."""
    options = str(engine.url.query.get("options", ""))
    wanted = {name: value for name, value in _SESSION.items() if name not in options}
    settings = "; ".join(f"SET {name} = '{value}'" for name, value in wanted.items())

    def connect(_dialect: Any, _record: Any, arguments: Any, parameters: Any) -> BoundedConnection:
        return BoundedConnection.connect(*arguments, **(CONNECTION | parameters))

    def prepare(connection: BoundedConnection, _record: Any) -> None:
        # Not as the startup parameter "options", which PgBouncer refuses.
        connection.autocommit = True
        connection.execute(settings)
        connection.autocommit = False

    event.listen(engine, "do_connect", connect)
    if settings:
        event.listen(engine, "connect", prepare)


@contextmanager
def unbounded(connection: Connection) -> Iterator[None]:
    """Let the rest of a transaction take its time, as a migration does that rewrites a table."""
    for name in _SESSION:
        connection.execute(text(f"SET LOCAL {name} = 0"))
    driver = connection.connection.driver_connection
    assert isinstance(driver, BoundedConnection)
    driver.answer_s = None
    try:
        yield
    finally:
        del driver.answer_s
