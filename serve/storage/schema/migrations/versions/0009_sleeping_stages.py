"""The stages that have no replica at the moment."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add them."""
    op.create_table("sleeping_stages", sa.Column("name", sa.String(8), primary_key=True))
