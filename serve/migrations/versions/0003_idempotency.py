"""By what a request is recognised when it comes again, and how much work a job is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add both; jobs that are there already cannot be asked for again."""
    op.add_column("jobs", sa.Column("idempotency_key", sa.String(64)))
    op.add_column("jobs", sa.Column("body_digest", sa.String(64)))
    op.add_column("jobs", sa.Column("work", sa.Float, nullable=False, server_default="0"))
    op.create_index("jobs_by_idempotency_key", "jobs", ["idempotency_key"], unique=True)
