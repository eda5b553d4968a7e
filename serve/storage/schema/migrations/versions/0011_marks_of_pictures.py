"""What owners note of their pictures: a star, a rating, tags."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
readable_from = "0001"


def upgrade() -> None:
    """Add columns; the pictures that are there have none of them."""
    op.add_column("library", sa.Column("star", sa.Integer, nullable=False, server_default="0"))
    op.add_column("library", sa.Column("rating", sa.Integer, nullable=False, server_default="0"))
    op.add_column("library", sa.Column("tags", sa.Text))
