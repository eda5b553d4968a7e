"""Comparisons: jobs of one prompt and seed side by side, and votes on their pictures."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
readable_from = "0001"


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "comparisons",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("owner", sa.String(16)),
        sa.Column("user", sa.String(128)),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("idempotency_key", sa.String(64)),
        sa.Column("body_digest", sa.String(64)),
        sa.Column("request", sa.JSON, nullable=False),
    )
    op.create_index(
        "comparisons_by_idempotency_key", "comparisons", ["idempotency_key"], unique=True
    )
    op.create_index("comparisons_by_owner", "comparisons", ["owner", "user", "id"])
    op.create_table(
        "comparison_votes",
        sa.Column("comparison_id", sa.String(64), primary_key=True),
        sa.Column("pair", sa.Integer, primary_key=True),
        sa.Column("voter_key", sa.String(16), primary_key=True),
        sa.Column("voter", sa.String(128), primary_key=True),
        sa.Column("vote", sa.String(8), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sqlite_with_rowid=False,
    )
