"""The schema, and what SQL says differently on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    DateTime,
    Dialect,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.types import TypeDecorator

MAX_INBOX_CHARS = 64
MAX_USER_CHARS = 128
MAX_TITLE_CHARS = 80
VERSION_TABLE = "schema_revision"
"""Holds the schema's revision. Versions before the first release used Alembic's default name."""


class UtcDateTime(TypeDecorator[datetime]):
    """Aware datetimes, kept in UTC; SQLite has no time zones, so they are put back on reading."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Convert to UTC on the way in."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Make aware on the way out."""
        if value is None:
            return None
        at: datetime = value
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


metadata = MetaData()

jobs = Table(
    "jobs",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("kind", String(32), nullable=False),
    Column("state", String(16), nullable=False),
    Column("stage", String(16)),
    Column("step", Integer),
    Column("steps", Integer),
    Column("image_index", Integer),
    Column("request", JSON, nullable=False),
    Column("client_state", JSON(none_as_null=True)),
    Column("owner", String(16)),
    Column("user", String(MAX_USER_CHARS)),
    Column("label", String(MAX_USER_CHARS)),
    Column("warnings", JSON, nullable=False),
    Column("error", JSON(none_as_null=True)),
    Column("route", JSON, nullable=False, default=list),
    Column("cost", JSON, nullable=False, default=dict),
    Column("created_at", UtcDateTime, nullable=False),
    Column("started_at", UtcDateTime),
    Column("finished_at", UtcDateTime),
    Column("idempotency_key", String(64)),
    Column("body_digest", String(64)),
    Column("work", Float, nullable=False, server_default="0"),
    Column("deadline_at", UtcDateTime),
    Column("crashes", JSON(none_as_null=True)),
    Column("context", JSON(none_as_null=True)),
    Column("inbox", String(MAX_INBOX_CHARS)),
    Column("release", String(32)),
    Column("choice", JSON(none_as_null=True)),
    Column("redos", JSON(none_as_null=True)),
    Column("rejections", JSON(none_as_null=True)),
    Column("model", String(256)),
    Index("jobs_by_idempotency_key", "idempotency_key", unique=True),
    # Holds what is read of all open jobs, so that the rows themselves are not.
    Index("jobs_by_state", "state", "owner", "user", "id", "work", "model"),
    Index("jobs_by_model", "model", "id"),
    Index("jobs_by_user", "user", "id"),
    Index("jobs_by_owner", "owner", "id"),
    Index("jobs_by_inbox", "inbox", "id"),
)

images = Table(
    "images",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("job_id", String(64), nullable=False),
    Column("index", Integer, nullable=False),
    Column("latent_id", String(64), nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("decoder_seed", BigInteger, nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("format", String(8), nullable=False),
    Column("size_bytes", BigInteger),
    Column("seconds", Float),
    Column("ready_at", UtcDateTime),
    Column("deleted_at", UtcDateTime),
    Column("latent_use", String(8)),
    Column("upload_id", String(64)),
    Column("preview", String(64)),
    Column("source_latent_id", String(64)),
    Column("redo_count", Integer, nullable=False, server_default="0"),
    Index("images_by_job", "job_id", "index"),
    Index("images_by_latent", "latent_id"),
    Index("images_by_upload", "upload_id"),
    Index("images_by_source", "source_latent_id", "id"),
)

library = Table(
    "library",
    metadata,
    Column("job_id", String(64), primary_key=True),
    Column("index", Integer, primary_key=True),
    Column("image_id", String(64), nullable=False),
    Column("owner", String(16), nullable=False),
    Column("user", String(MAX_USER_CHARS), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("prompt", Text, nullable=False),
    Column("words", Text, nullable=False),
    Column("day", String(10), nullable=False),
    Column("thumbnail_bytes", Integer),
    Column("star", Integer, nullable=False, server_default="0"),
    Column("rating", Integer, nullable=False, server_default="0"),
    Column("tags", Text),
    Column("state", String(16)),
    Column("fingerprint", BigInteger),
    Index("library_by_image", "image_id", unique=True),
    Index("library_by_owner", "owner", "user", "job_id", "index"),
    Index("library_by_day", "owner", "user", "day"),
    # Has all that a search for near fingerprints reads, but for what it finds.
    Index("library_by_fingerprint", "owner", "user", "fingerprint", "state"),
)

library_words = Table(
    "library_words",
    metadata,
    # In the order of code points, so that the words with a beginning follow each other.
    Column("word", String(64).with_variant(String(64, "C"), "postgresql"), primary_key=True),
    Column("job_id", String(64), primary_key=True),
    Column("index", Integer, primary_key=True),
    Column("owner", String(16), nullable=False),
    Index("library_words_by_owner", "owner", "word", "job_id", "index"),
    sqlite_with_rowid=False,
)

boards = Table(
    "boards",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("owner", String(16), nullable=False),
    Column("user", String(MAX_USER_CHARS), nullable=False),
    Column("title", String(MAX_TITLE_CHARS), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Index("boards_by_owner", "owner", "user", "id"),
)

board_pictures = Table(
    "board_pictures",
    metadata,
    Column("board_id", String(64), primary_key=True),
    Column("job_id", String(64), primary_key=True),
    Column("index", Integer, primary_key=True),
    Index("board_pictures_by_picture", "job_id", "index"),
    sqlite_with_rowid=False,
)

comparisons = Table(
    "comparisons",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("owner", String(16)),
    Column("user", String(MAX_USER_CHARS)),
    Column("created_at", UtcDateTime, nullable=False),
    Column("idempotency_key", String(64)),
    Column("body_digest", String(64)),
    Column("request", JSON, nullable=False),
    Index("comparisons_by_idempotency_key", "idempotency_key", unique=True),
    Index("comparisons_by_owner", "owner", "user", "id"),
)

comparison_votes = Table(
    "comparison_votes",
    metadata,
    Column("comparison_id", String(64), primary_key=True),
    Column("pair", Integer, primary_key=True),
    Column("voter_key", String(16), primary_key=True),
    Column("voter", String(MAX_USER_CHARS), primary_key=True),
    Column("vote", String(8), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    sqlite_with_rowid=False,
)

latents = Table(
    "latents",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("job_id", String(64), nullable=False),
    Column("index", Integer, nullable=False),
    Column("model_id", String(256), nullable=False),
    Column("model_revision", String(128), nullable=False),
    Column("model_fingerprint", String(256), nullable=False),
    Column("request", JSON, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("deleted_at", UtcDateTime),
    Column("content", String(64)),
    Index("latents_by_content", "content"),
)

uploads = Table(
    "uploads",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("owner", String(16)),
    Column("user", String(MAX_USER_CHARS)),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("content", String(64), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("deleted_at", UtcDateTime),
    Index("uploads_by_owner", "owner", "user", "content"),
    Index("uploads_by_end", "expires_at"),
)

events = Table(
    "events",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("job_id", String(64), nullable=False),
    Column("type", String(16), nullable=False),
    Column("data", JSON, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Index("events_by_job", "job_id", "id"),
    # An id must never come back, or a client that resumes would miss what happened since.
    sqlite_autoincrement=True,
)

executors = Table(
    "executors",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("heartbeat_at", UtcDateTime, nullable=False),
)

leases = Table(
    "leases",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("holder", String(64)),
    Column("renewed_at", UtcDateTime),
)

schema_compatibility = Table(
    "schema_compatibility",
    metadata,
    Column("readable_from", String(32), primary_key=True),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("name", String(128), nullable=False),
    Column("hash", String(64), nullable=False),
    Column("scopes", JSON, nullable=False),
    Column("limits", JSON, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("last_used_at", UtcDateTime),
    Column("revoked_at", UtcDateTime),
)

sessions = Table(
    "sessions",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("token_hash", String(64), nullable=False),
    Column("key_id", String(16), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("used_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
)

preferences = Table(
    "preferences",
    metadata,
    Column("owner", String(16), primary_key=True),
    Column("user", String(MAX_USER_CHARS), primary_key=True),
    Column("name", String(64), primary_key=True),
    Column("value", JSON, nullable=False),
)

scaled_to_zero_stages = Table(
    "scaled_to_zero_stages",
    metadata,
    Column("name", String(64), primary_key=True),
)

server_secrets = Table(
    "server_secrets",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("value", String(64), nullable=False),
)


def upsert(connection: Connection, table: Table, row: Mapping[str, Any]) -> None:
    """Insert a row, or give the one with its primary key the row's other values, in one statement.

    Two transactions that write the same new key at once both succeed; the later one's values stay.
    """
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    made: Any = dialect.insert(table).values(**row)
    key = list(table.primary_key)
    others = {name: value for name, value in row.items() if not table.c[name].primary_key}
    if others:
        made = made.on_conflict_do_update(index_elements=key, set_=others)
    else:
        made = made.on_conflict_do_nothing(index_elements=key)
    connection.execute(made)


def insert_new(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows; those whose primary key is there already are left out."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    if rows:
        connection.execute(dialect.insert(table).on_conflict_do_nothing(), rows)


def database_now(connection: Connection) -> datetime:
    """Return the time by the database's clock, which all processes share.

    Those that share a SQLite file are on one machine and share its clock.
    """
    if connection.dialect.name == "sqlite":
        return datetime.now(UTC)
    now: datetime = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
    return now.astimezone(UTC)


def owned_by(key_id: str | None, user: str | None) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions of the jobs of one end user of one API key."""
    # Not IS NOT DISTINCT FROM, for which PostgreSQL uses no index.
    return jobs.c.owner == key_id, jobs.c.user == user
