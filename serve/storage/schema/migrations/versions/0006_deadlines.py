"""By when a job must have ended, and how many replicas died of it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add both; jobs of the release before have no deadline."""
    op.add_column("jobs", sa.Column("deadline_at", sa.DateTime(timezone=True)))
    op.add_column("jobs", sa.Column("deaths", sa.JSON()))
