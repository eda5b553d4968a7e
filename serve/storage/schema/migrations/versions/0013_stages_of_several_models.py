"""Stages are named with their model where a service has several."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
readable_from = "0001"


def upgrade() -> None:
    """Widen the names of the stages without a replica."""
    with op.batch_alter_table("scaled_to_zero_stages") as table:
        table.alter_column(
            "name", type_=sa.String(64), existing_type=sa.String(16), existing_nullable=False
        )
