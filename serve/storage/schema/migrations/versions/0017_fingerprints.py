"""Fingerprints of pictures; those of older pictures are made in rounds."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
readable_from = "0001"


def upgrade() -> None:
    """Add a column, empty for the pictures that are there, and the index that a search reads."""
    op.add_column("library", sa.Column("fingerprint", sa.BigInteger))
    columns = ["owner", "user", "fingerprint", "state"]
    op.create_index("library_by_fingerprint", "library", columns)
