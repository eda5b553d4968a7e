"""What one process does for all, which release accepted a job, and which may read the tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
readable_from = "0010"
"""The oldest revision whose code can work with this one's tables."""


def upgrade() -> None:
    """Add them."""
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
    op.add_column("jobs", sa.Column("release", sa.String(32)))
