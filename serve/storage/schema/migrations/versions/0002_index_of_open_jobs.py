"""One index holds what counting and ordering open jobs reads."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
readable_from = "0001"


def upgrade() -> None:
    """Replace the index by state."""
    # Removed first: that takes the stronger lock. A transaction that takes it second may deadlock
    # with writers.
    op.drop_index("jobs_by_state", table_name="jobs")
    op.create_index("jobs_by_state", "jobs", ["state", "owner", "user", "id", "work"])
