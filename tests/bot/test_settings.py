"""The bot's settings."""

from __future__ import annotations

import pytest

from bot.settings import load_settings
from cascade_core.errors import (
    SettingsInvalid,
)


def test_settings_name_every_wrong_variable_and_hide_secrets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DISCORD_TOKEN", "very-secret")
    monkeypatch.setenv("CASCADE_URL", "localhost:8000")
    monkeypatch.setenv("BOT_HTTP_PORT", "-1")
    with pytest.raises(SettingsInvalid) as caught:
        load_settings()
    assert "CASCADE_URL" in caught.value.message
    assert "BOT_HTTP_PORT" in caught.value.message
    monkeypatch.setenv("CASCADE_URL", "http://localhost:8000/")
    monkeypatch.setenv("BOT_HTTP_PORT", "")
    settings = load_settings()
    assert (settings.url, settings.http_port) == ("http://localhost:8000", 8100)
    assert settings.read_token() == "very-secret"
    assert "very-secret" not in repr(settings)


def test_a_token_may_be_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.delenv("DISCORD_TOKEN", raising=False)
    with pytest.raises(SettingsInvalid, match="DISCORD_TOKEN"):
        load_settings().read_token()
    monkeypatch.setenv("DISCORD_TOKEN_FILE", f"{tmp_path}/missing")
    with pytest.raises(SettingsInvalid, match="DISCORD_TOKEN_FILE"):
        load_settings().read_token()
