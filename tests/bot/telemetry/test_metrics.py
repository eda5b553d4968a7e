"""The bot's metrics."""

from __future__ import annotations

from bot.telemetry.metrics import route_of


def test_routes_in_metrics_have_neither_ids_nor_tokens() -> None:
    snowflake, token = "1" * 18, "aW50ZXJhY3Rpb246-_x"
    assert route_of(f"/api/v10/webhooks/{snowflake}/{token}/messages/{snowflake}") == (
        "/api/v10/webhooks/:id/:token/messages/:id"
    )
    assert route_of(f"/api/v10/interactions/{snowflake}/{token}/callback") == (
        "/api/v10/interactions/:id/:token/callback"
    )
    assert route_of(f"/api/v10/webhooks/{snowflake}/{token}") == "/api/v10/webhooks/:id/:token"
