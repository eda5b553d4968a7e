"""Jobs name their model, so that each model's pace can be read."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
readable_from = "0001"


def upgrade() -> None:
    """Add the column, with what requests say, and what reads it."""
    op.drop_index("jobs_by_state", table_name="jobs")
    op.add_column("jobs", sa.Column("model", sa.String(256)))
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    named = "json_extract(request, '$.model')" if is_sqlite else "request ->> 'model'"
    op.execute(f"UPDATE jobs SET model = {named}")
    op.create_index("jobs_by_state", "jobs", ["state", "owner", "user", "id", "work", "model"])
    op.create_index("jobs_by_model", "jobs", ["model", "id"])
