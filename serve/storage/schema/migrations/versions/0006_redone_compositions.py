"""A job keeps which compositions its client had made anew; an image how often it was made anew."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
readable_from = "0001"


def upgrade() -> None:
    """Add the columns."""
    op.add_column("jobs", sa.Column("redos", sa.JSON))
    count = sa.Column("redo_count", sa.Integer, nullable=False, server_default="0")
    op.add_column("images", count)
