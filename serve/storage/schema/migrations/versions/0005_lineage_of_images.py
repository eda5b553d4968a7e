"""An image names the latent that it was made from, so that a picture's children are found."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
readable_from = "0001"


def upgrade() -> None:
    """Add the column and its index; variations that are there start from the latent they show."""
    op.add_column("images", sa.Column("source_latent_id", sa.String(64)))
    op.execute("UPDATE images SET source_latent_id = latent_id WHERE latent_use = 'stored'")
    op.create_index("images_by_source", "images", ["source_latent_id", "id"])
