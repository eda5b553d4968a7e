"""Pictures that clients have sent, and which images are made from them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
readable_from = "0001"


def upgrade() -> None:
    """Add a table and a column."""
    op.create_table(
        "uploads",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("owner", sa.String(16)),
        sa.Column("user", sa.String(128)),
        sa.Column("width", sa.Integer, nullable=False),
        sa.Column("height", sa.Integer, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("content", sa.String(64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True)),
    )
    op.create_index("uploads_by_owner", "uploads", ["owner", "user", "content"])
    op.create_index("uploads_by_end", "uploads", ["expires_at"])
    op.add_column("images", sa.Column("upload_id", sa.String(64)))
    op.create_index("images_by_upload", "images", ["upload_id"])
