"""A job keeps which compositions a checker rejected; their images were composed anew."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
readable_from = "0001"


def upgrade() -> None:
    """Add the column."""
    op.add_column("jobs", sa.Column("rejections", sa.JSON))
