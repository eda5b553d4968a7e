"""Assets: states of pictures, comments on them, and an audit log that is only appended to."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
readable_from = "0001"

_FIXED = "audit events are only appended"


def upgrade() -> None:
    """Add the tables, the triggers that keep audit events as they are, and the library's state."""
    op.create_table(
        "assets",
        sa.Column("image_id", sa.String(64), primary_key=True),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("submitted_by", sa.JSON),
        sa.Column("submitted_at", sa.DateTime(timezone=True)),
        sa.Column("decided_by", sa.JSON),
        sa.Column("decided_at", sa.DateTime(timezone=True)),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("published_at", sa.DateTime(timezone=True)),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("assets_by_state", "assets", ["state", "changed_at", "image_id"])
    op.create_index("assets_by_change", "assets", ["changed_at", "image_id"])
    op.create_table(
        "asset_comments",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("image_id", sa.String(64), nullable=False),
        sa.Column("author", sa.JSON, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("x", sa.Float),
        sa.Column("y", sa.Float),
        sa.Column("is_resolved", sa.Boolean, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("asset_comments_by_image", "asset_comments", ["image_id", "id"])
    op.create_table(
        "audit_events",
        sa.Column("chain", sa.String(64), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("key_id", sa.String(16)),
        sa.Column("key", sa.String(128), nullable=False),
        sa.Column("user", sa.String(128)),
        sa.Column("action", sa.String(32), nullable=False),
        sa.Column("image_id", sa.String(64)),
        sa.Column("details", sa.JSON, nullable=False),
        sa.Column("previous_hash", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
    )
    op.create_index("audit_events_by_image", "audit_events", ["image_id", "at"])
    op.create_index("audit_events_by_time", "audit_events", ["at", "chain", "number"])
    op.create_table(
        "audit_notes",
        sa.Column("chain", sa.String(64), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("image_id", sa.String(64), nullable=False),
        sa.Column("text", sa.Text, nullable=False),
    )
    op.create_index("audit_notes_by_image", "audit_notes", ["image_id"])
    op.add_column("library", sa.Column("state", sa.String(16)))
    _fix_events()


def _fix_events() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "CREATE OR REPLACE FUNCTION keep_audit_events() RETURNS trigger AS $$ BEGIN "
            f"RAISE EXCEPTION '{_FIXED}'; END $$ LANGUAGE plpgsql"
        )
        op.execute(
            "CREATE TRIGGER audit_events_fixed BEFORE UPDATE OR DELETE OR TRUNCATE "
            "ON audit_events FOR EACH STATEMENT EXECUTE FUNCTION keep_audit_events()"
        )
        return
    for change in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER audit_events_no_{change.lower()} BEFORE {change} ON audit_events "
            f"BEGIN SELECT RAISE(ABORT, '{_FIXED}'); END"
        )
