"""Jobs, images, latents and events, as they were before the schema had revisions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the tables."""
    _create_jobs()
    _create_images()
    _create_latents()
    _create_events()


def _create_jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("stage", sa.String(8)),
        sa.Column("step", sa.Integer),
        sa.Column("steps", sa.Integer),
        sa.Column("image_index", sa.Integer),
        sa.Column("request", sa.JSON, nullable=False),
        sa.Column("client_state", sa.JSON),
        sa.Column("user", sa.String(128)),
        sa.Column("warnings", sa.JSON, nullable=False),
        sa.Column("error", sa.JSON),
        sa.Column("c_s", sa.Float, nullable=False),
        sa.Column("b_s", sa.Float, nullable=False),
        sa.Column("a_s", sa.Float, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True)),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
    )
    op.create_index("jobs_by_state", "jobs", ["state", "kind", "id"])
    op.create_index("jobs_by_user", "jobs", ["user", "id"])


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
    )


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
