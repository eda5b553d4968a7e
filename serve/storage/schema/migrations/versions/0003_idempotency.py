"""Requests that come again, a job's work, who runs jobs, and latents found by their content."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add them; what is there already is neither asked for again nor reused."""
    op.add_column("jobs", sa.Column("idempotency_key", sa.String(64)))
    op.add_column("jobs", sa.Column("body_digest", sa.String(64)))
    op.add_column("jobs", sa.Column("work", sa.Float, nullable=False, server_default="0"))
    op.create_index("jobs_by_idempotency_key", "jobs", ["idempotency_key"], unique=True)
    op.add_column("images", sa.Column("stage_c", sa.String(8)))
    op.add_column("latents", sa.Column("content", sa.String(64)))
    op.create_index("latents_by_content", "latents", ["content"])
    op.create_table(
        "executors",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("beat_at", sa.DateTime(timezone=True), nullable=False),
    )
