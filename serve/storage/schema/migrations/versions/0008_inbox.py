"""The inbox that a client's state names, in a column of its own with an index."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

_jobs = sa.table(
    "jobs",
    sa.column("id", sa.String),
    sa.column("client_state", sa.JSON),
    sa.column("inbox", sa.String),
)


def upgrade() -> None:
    """Add it, with what the states of jobs that are there say."""
    op.add_column("jobs", sa.Column("inbox", sa.String(64)))
    connection = op.get_bind()
    may_name_one = sa.cast(_jobs.c.client_state, sa.Text).contains('"inbox"')
    states = sa.select(_jobs.c.id, _jobs.c.client_state).where(may_name_one)
    for job_id, state in connection.execute(states).all():
        inbox = state.get("inbox")
        if isinstance(inbox, str) and len(inbox) <= 64 and "\0" not in inbox:
            connection.execute(sa.update(_jobs).where(_jobs.c.id == job_id).values(inbox=inbox))
    op.create_index("jobs_by_inbox", "jobs", ["inbox", "id"])
