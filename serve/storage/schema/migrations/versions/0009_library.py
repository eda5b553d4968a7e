"""Pictures with the words of their prompts; older pictures are entered by rounds of retention."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
readable_from = "0001"


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "library",
        sa.Column("job_id", sa.String(64), primary_key=True),
        sa.Column("index", sa.Integer, primary_key=True),
        sa.Column("image_id", sa.String(64), nullable=False),
        sa.Column("owner", sa.String(16), nullable=False),
        sa.Column("user", sa.String(128), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("width", sa.Integer, nullable=False),
        sa.Column("height", sa.Integer, nullable=False),
        sa.Column("seed", sa.BigInteger, nullable=False),
        sa.Column("prompt", sa.Text, nullable=False),
        sa.Column("words", sa.Text, nullable=False),
        sa.Column("day", sa.String(10), nullable=False),
    )
    op.create_index("library_by_image", "library", ["image_id"], unique=True)
    op.create_index("library_by_owner", "library", ["owner", "user", "job_id", "index"])
    op.create_index("library_by_day", "library", ["owner", "user", "day"])
    word = sa.String(64).with_variant(sa.String(64, "C"), "postgresql")
    op.create_table(
        "library_words",
        sa.Column("word", word, primary_key=True),
        sa.Column("job_id", sa.String(64), primary_key=True),
        sa.Column("index", sa.Integer, primary_key=True),
        sa.Column("owner", sa.String(16), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("library_words_by_owner", "library_words", ["owner", "word", "job_id", "index"])
