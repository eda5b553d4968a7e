"""Limits how long a process waits for PostgreSQL.

An overloaded server ends statements by its own time-outs. TCP detects a server that is gone.
Neither detects a frozen server or a proxy that has lost its server, so the client limits its own
waits, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import psycopg
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus
from sqlalchemy import Connection, Engine, event, make_url, text

CONNECTION: Final = {
    "connect_timeout": "5",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "15000",
}
"""Parameters of libpq: time until a connection attempt fails, and until a connection to a server
that is gone breaks. In seconds; ``tcp_user_timeout`` is in milliseconds and works on Linux."""
_SESSION: Final = {
    "statement_timeout": "30s",
    "lock_timeout": "10s",
    "idle_in_transaction_session_timeout": "60s",
}
"""Time-outs that the server applies to each session."""
ANSWER_S: Final = 40.0
"""Seconds; after this time the server counts as frozen. Statements end earlier, by time-out."""


class BoundedConnection(psycopg.Connection[Any]):
    """A connection that closes itself if an answer does not come within a time limit.

    Attributes:
        answer_s: the limit in seconds; None: no limit.
    """

    answer_s: float | None = ANSWER_S

    def wait(self, gen: PQGen[Any], interval: float = 0.1, timeout: float | None = None) -> Any:
        """Do one exchange with the server.

        Raises:
            psycopg.OperationalError: the server did not answer in time, or the exchange failed.
        """
        if timeout is not None:
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(gen, interval, self.answer_s)
        except psycopg.OperationalError:
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                self.close()  # a late answer would count as the answer to the next query
            raise


def limit_waits(engine: Engine) -> None:
    """Apply the limits above to all connections of an engine, except those that its URL sets."""
    options = str(engine.url.query.get("options", ""))
    wanted = {name: value for name, value in _SESSION.items() if name not in options}
    settings = "; ".join(f"SET {name} = '{value}'" for name, value in wanted.items())

    def connect(_dialect: Any, _record: Any, arguments: Any, parameters: Any) -> BoundedConnection:
        return BoundedConnection.connect(*arguments, **(CONNECTION | parameters))

    def prepare(connection: BoundedConnection, _record: Any) -> None:
        # SET, because PgBouncer rejects the startup parameter "options".
        connection.autocommit = True
        connection.execute(settings)
        connection.autocommit = False

    event.listen(engine, "do_connect", connect)
    if settings:
        event.listen(engine, "connect", prepare)


def with_connection_limits(url: str) -> str:
    """Return a URL with the parameters in :data:`CONNECTION`, except those that the URL sets."""
    parsed = make_url(url)
    limited = parsed.update_query_dict({**CONNECTION, **parsed.query})
    return limited.render_as_string(hide_password=False)


@contextmanager
def without_wait_limits(connection: Connection) -> Iterator[None]:
    """Remove the limits for the rest of a transaction, such as a migration of a large table."""
    for name in _SESSION:
        connection.execute(text(f"SET LOCAL {name} = 0"))
    driver = connection.connection.driver_connection
    assert isinstance(driver, BoundedConnection)
    driver.answer_s = None
    try:
        yield
    finally:
        del driver.answer_s
