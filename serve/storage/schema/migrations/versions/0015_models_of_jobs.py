"""Jobs name their model, so that each model's pace can be read."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
readable_from = "0001"


def upgrade() -> None:
    """Add the column, which jobs from before leave empty, and what reads it."""
    op.drop_index("jobs_by_state", table_name="jobs")
    op.add_column("jobs", sa.Column("model", sa.String(256)))
    op.create_index("jobs_by_state", "jobs", ["state", "owner", "user", "id", "work", "model"])
    op.create_index("jobs_by_model", "jobs", ["model", "id"])
