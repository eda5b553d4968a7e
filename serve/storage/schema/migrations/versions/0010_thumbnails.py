"""How large the stored thumbnails of a picture are; those of older pictures are made in rounds."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
readable_from = "0001"


def upgrade() -> None:
    """Add a column, empty for the pictures that are there."""
    op.add_column("library", sa.Column("thumbnail_bytes", sa.Integer))
