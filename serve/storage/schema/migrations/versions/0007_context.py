"""Ids and trace of the request that made a job."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add them; nobody knows those of jobs that are there already."""
    op.add_column("jobs", sa.Column("context", sa.JSON()))
