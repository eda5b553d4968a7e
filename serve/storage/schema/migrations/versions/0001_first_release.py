"""All tables of the first release."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
readable_from = "0001"
"""The oldest revision whose code can work with this one's tables."""


def upgrade() -> None:
    """Create the tables."""
    _create_jobs()
    _create_images()
    _create_latents()
    _create_events()
    _create_processes()
    _create_clients()


def _create_jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("stage", sa.String(16)),
        sa.Column("step", sa.Integer),
        sa.Column("steps", sa.Integer),
        sa.Column("image_index", sa.Integer),
        sa.Column("request", sa.JSON, nullable=False),
        sa.Column("client_state", sa.JSON),
        sa.Column("owner", sa.String(16)),
        sa.Column("user", sa.String(128)),
        sa.Column("label", sa.String(128)),
        sa.Column("warnings", sa.JSON, nullable=False),
        sa.Column("error", sa.JSON),
        sa.Column("route", sa.JSON, nullable=False),
        sa.Column("cost", sa.JSON, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True)),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
        sa.Column("idempotency_key", sa.String(64)),
        sa.Column("body_digest", sa.String(64)),
        sa.Column("work", sa.Float, nullable=False, server_default="0"),
        sa.Column("deadline_at", sa.DateTime(timezone=True)),
        sa.Column("crashes", sa.JSON),
        sa.Column("context", sa.JSON),
        sa.Column("inbox", sa.String(64)),
        sa.Column("release", sa.String(32)),
    )
    op.create_index("jobs_by_idempotency_key", "jobs", ["idempotency_key"], unique=True)
    op.create_index("jobs_by_state", "jobs", ["state", "kind", "id"])
    op.create_index("jobs_by_user", "jobs", ["user", "id"])
    op.create_index("jobs_by_owner", "jobs", ["owner", "id"])
    op.create_index("jobs_by_inbox", "jobs", ["inbox", "id"])


def _create_images() -> None:
    op.create_table(
        "images",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("job_id", sa.String(64), nullable=False),
        sa.Column("index", sa.Integer, nullable=False),
        sa.Column("latent_id", sa.String(64), nullable=False),
        sa.Column("seed", sa.BigInteger, nullable=False),
        sa.Column("decoder_seed", sa.BigInteger, nullable=False),
        sa.Column("width", sa.Integer, nullable=False),
        sa.Column("height", sa.Integer, nullable=False),
        sa.Column("format", sa.String(8), nullable=False),
        sa.Column("size_bytes", sa.BigInteger),
        sa.Column("seconds", sa.Float),
        sa.Column("ready_at", sa.DateTime(timezone=True)),
        sa.Column("deleted_at", sa.DateTime(timezone=True)),
        sa.Column("latent_use", sa.String(8)),
    )
    op.create_index("images_by_job", "images", ["job_id", "index"])
    op.create_index("images_by_latent", "images", ["latent_id"])


def _create_latents() -> None:
    op.create_table(
        "latents",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("job_id", sa.String(64), nullable=False),
        sa.Column("index", sa.Integer, nullable=False),
        sa.Column("model_id", sa.String(256), nullable=False),
        sa.Column("model_revision", sa.String(128), nullable=False),
        sa.Column("model_fingerprint", sa.String(256), nullable=False),
        sa.Column("request", sa.JSON, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True)),
        sa.Column("content", sa.String(64)),
    )
    op.create_index("latents_by_content", "latents", ["content"])


def _create_events() -> None:
    op.create_table(
        "events",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        sa.Column("job_id", sa.String(64), nullable=False),
        sa.Column("type", sa.String(16), nullable=False),
        sa.Column("data", sa.JSON, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        # An id must never come back, or a client that resumes would miss what happened since.
        sqlite_autoincrement=True,
    )
    op.create_index("events_by_job", "events", ["job_id", "id"])


def _create_processes() -> None:
    """Create the tables by which the processes of the service coordinate."""
    op.create_table(
        "executors",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("heartbeat_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "leases",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("holder", sa.String(64)),
        sa.Column("renewed_at", sa.DateTime(timezone=True)),
    )
    op.create_table(
        "schema_compatibility",
        sa.Column("readable_from", sa.String(32), primary_key=True),
    )
    op.create_table("scaled_to_zero_stages", sa.Column("name", sa.String(16), primary_key=True))


def _create_clients() -> None:
    """Create the keys and preferences of clients, and the secrets of the service."""
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(16), primary_key=True),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("scopes", sa.JSON, nullable=False),
        sa.Column("limits", sa.JSON, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True)),
        sa.Column("revoked_at", sa.DateTime(timezone=True)),
    )
    op.create_table(
        "preferences",
        sa.Column("owner", sa.String(16), primary_key=True),
        sa.Column("user", sa.String(128), primary_key=True),
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("value", sa.JSON, nullable=False),
    )
    op.create_table(
        "server_secrets",
        sa.Column("name", sa.String(32), primary_key=True),
        sa.Column("value", sa.String(64), nullable=False),
    )
