"""The tables of assets: states of pictures, comments, the audit log, presets of exports."""

from __future__ import annotations

from sqlalchemy import JSON, Boolean, Column, Float, Index, Integer, String, Table, Text

from serve.storage.schema.tables import MAX_USER_CHARS, UtcDateTime, metadata

MAX_KEY_NAME_CHARS = 128

assets = Table(
    "assets",
    metadata,
    Column("image_id", String(64), primary_key=True),
    Column("state", String(16), nullable=False),
    Column("version", Integer, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("submitted_by", JSON(none_as_null=True)),
    Column("submitted_at", UtcDateTime),
    Column("decided_by", JSON(none_as_null=True)),
    Column("decided_at", UtcDateTime),
    Column("note", Text, nullable=False),
    Column("published_at", UtcDateTime),
    Column("changed_at", UtcDateTime, nullable=False),
    Index("assets_by_state", "state", "changed_at", "image_id"),
    Index("assets_by_change", "changed_at", "image_id"),
)

asset_comments = Table(
    "asset_comments",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("image_id", String(64), nullable=False),
    Column("author", JSON, nullable=False),
    Column("text", Text, nullable=False),
    Column("x", Float),
    Column("y", Float),
    Column("is_resolved", Boolean, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Index("asset_comments_by_image", "image_id", "id"),
)

audit_events = Table(
    "audit_events",
    metadata,
    Column("chain", String(64), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("at", UtcDateTime, nullable=False),
    Column("key_id", String(16)),
    Column("key", String(MAX_KEY_NAME_CHARS), nullable=False),
    Column("user", String(MAX_USER_CHARS)),
    Column("action", String(32), nullable=False),
    Column("image_id", String(64)),
    Column("details", JSON, nullable=False),
    Column("previous_hash", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
    Index("audit_events_by_image", "image_id", "at"),
    Index("audit_events_by_time", "at", "chain", "number"),
)

export_presets = Table(
    "export_presets",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("body", JSON, nullable=False),
    Column("changed_at", UtcDateTime, nullable=False),
)

audit_notes = Table(
    "audit_notes",
    metadata,
    Column("chain", String(64), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("image_id", String(64), nullable=False),
    Column("text", Text, nullable=False),
    Index("audit_notes_by_image", "image_id"),
)
"""What people wrote beside an action. The event has the text's digest, so the text can be erased
while the event stays."""
