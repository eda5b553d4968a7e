"""Boards: collections of pictures."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
readable_from = "0001"


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "boards",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("owner", sa.String(16), nullable=False),
        sa.Column("user", sa.String(128), nullable=False),
        sa.Column("title", sa.String(80), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("boards_by_owner", "boards", ["owner", "user", "id"])
    op.create_table(
        "board_pictures",
        sa.Column("board_id", sa.String(64), primary_key=True),
        sa.Column("job_id", sa.String(64), primary_key=True),
        sa.Column("index", sa.Integer, primary_key=True),
        sqlite_with_rowid=False,
    )
    op.create_index("board_pictures_by_picture", "board_pictures", ["job_id", "index"])
