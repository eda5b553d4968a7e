"""What a job that stops after a stage needs: its client's choice, and previews of its latents."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
readable_from = "0001"


def upgrade() -> None:
    """Add the columns."""
    op.add_column("jobs", sa.Column("choice", sa.JSON))
    op.add_column("images", sa.Column("preview", sa.String(64)))
