"""What a key that does not act for users calls its jobs, apart from whom others act for."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add it."""
    op.add_column("jobs", sa.Column("label", sa.String(128)))
