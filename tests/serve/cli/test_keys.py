"""``cascade keys``, and which callers ``cascade up`` would answer."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from cascade_core.errors import Forbidden, SettingsInvalid
from serve.gateway.auth.exposure import check_exposure
from serve.gateway.auth.signed_links import Link, ShareLinks
from serve.settings import Settings, load_settings
from serve.storage.access.credentials import KeyStore, find_valid
from serve.storage.database import Database
from tests.migrated import with_tables
from tests.serve.cli.cascade import Cascade
from tests.serve.cli.scripted_server import ScriptedService

NOWHERE = Cascade("http://127.0.0.1:1")


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Settings:
    monkeypatch.setenv("CASCADE_DATA_DIR", str(tmp_path))
    return load_settings()


@pytest.fixture
def keys(settings: Settings) -> KeyStore:
    database = Database(with_tables(settings.database_url))
    return database.keys


def test_a_key_is_shown_once_and_alone_on_stdout(keys: KeyStore) -> None:
    made = NOWHERE("keys", "create", "ann")
    assert made.exit_code == 0, made.output
    token = made.stdout.strip()
    key = find_valid(token, {key.id: key for key in keys.all()})
    assert key is not None
    assert (key.name, key.scopes) == ("ann", {"create", "read"})
    assert "every client needs a key" in made.stderr
    listed = NOWHERE("keys", "list")
    assert "ann" in listed.stdout
    assert token.split("_", 2)[2] not in listed.stdout
    assert "every client" not in NOWHERE("keys", "create", "bob").stderr


def test_scopes_and_limits_are_what_was_asked_for(keys: KeyStore) -> None:
    arguments = ["bot", "--scope", "read", "--trusted", "--requests-per-minute", "0", "--json"]
    shown = json.loads(NOWHERE("keys", "create", *arguments).stdout)
    assert (shown["scopes"], shown["requests_per_minute"]) == (["read", "trusted"], 0)
    assert find_valid(shown["key"], {key.id: key for key in keys.all()}) is not None
    root = json.loads(NOWHERE("keys", "create", "root", "--admin", "--json").stdout)
    assert root["scopes"] == ["create", "read", "admin"]


def test_a_key_may_be_limited_to_models_and_the_list_shows_them(keys: KeyStore) -> None:
    named = ["--model", "demo", "--model", "me/flow"]
    shown = json.loads(NOWHERE("keys", "create", "ann", *named, "--json").stdout)
    NOWHERE("keys", "create", "bob")
    assert shown["models"] == ["demo", "me/flow"]
    listed = json.loads(NOWHERE("keys", "list", "--json").stdout)
    assert [key["models"] for key in listed] == [["demo", "me/flow"], None]
    assert "demo me/flow" in NOWHERE("keys", "list").stdout
    assert NOWHERE("keys", "create", "cid", "--model", "").exit_code == 2


def test_a_key_of_a_valid_keys_name_is_made_and_told(keys: KeyStore) -> None:
    first = json.loads(NOWHERE("keys", "create", "ann", "--json").stdout)["id"]
    again = NOWHERE("keys", "create", "ann")
    assert again.exit_code == 0
    assert f"Another valid key has this name: {first}." in again.stderr
    for key in keys.all():
        NOWHERE("keys", "revoke", key.id)
    assert "has this name" not in NOWHERE("keys", "create", "ann").stderr


def test_a_revoked_key_stays_in_the_list(keys: KeyStore) -> None:
    shown = json.loads(NOWHERE("keys", "create", "ann", "--json").stdout)
    revoked = NOWHERE("keys", "revoke", shown["id"])
    assert revoked.exit_code == 0
    assert "refuses every client" in revoked.stderr
    listed = json.loads(NOWHERE("keys", "list", "--json").stdout)
    assert [key["id"] for key in listed] == [shown["id"]]
    assert listed[0]["revoked_at"] is not None
    assert "hash" not in listed[0]
    assert NOWHERE("keys", "revoke", shown["id"]).exit_code == 0


async def test_all_shared_links_can_be_ended_at_once(settings: Settings) -> None:
    database = Database(with_tables(settings.database_url))

    async def is_valid(key_id: str) -> bool:
        return True

    url, _ = await ShareLinks(database, is_valid).make("IMG1", 60, None)
    said = parse_qs(urlsplit(url).query)
    assert NOWHERE("keys", "end-links").exit_code == 0
    link = Link(image_id="IMG1", expires=said["expires"][0])
    with pytest.raises(Forbidden):
        await ShareLinks(database, is_valid).check(link, said["signature"][0])


@pytest.mark.parametrize("arguments", [["create", ""], ["create", "a\nb"], ["revoke", "nobody"]])
def test_what_cannot_be_is_bad_usage(arguments: list[str], keys: KeyStore) -> None:
    assert NOWHERE("keys", *arguments).exit_code == 2
    assert keys.all() == []


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "example.org"])
def test_without_keys_up_refuses_to_listen_beyond_this_machine(
    host: str, settings: Settings
) -> None:
    refused = NOWHERE("up", "--host", host)
    assert refused.exit_code == 2
    assert "cascade keys create" in refused.stderr
    assert "127.0.0.1" in refused.stderr
    assert refused.stdout == ""
    NOWHERE("keys", "create", "ann")
    elsewhere = settings.model_copy(update={"http_host": host})
    assert check_exposure(elsewhere) == "callers with an API key (1 valid)"


def test_behind_haproxy_which_hides_the_client_up_needs_a_key_first(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_SERVE_ENABLE_HA_PROXY", "1")
    with pytest.raises(SettingsInvalid, match="behind HAProxy"):
        check_exposure(settings)
    NOWHERE("keys", "create", "ann")
    assert "1 valid" in check_exposure(settings)


def test_no_setting_lets_the_service_listen_beyond_this_machine_without_keys(
    settings: Settings,
) -> None:
    from serve.local.cluster import start

    assert "this machine only" in check_exposure(settings)
    with pytest.raises(SettingsInvalid, match="no API keys"):
        start(settings.model_copy(update={"http_host": "0.0.0.0"}))


@pytest.mark.parametrize(
    ("key", "message", "remedy"),
    [
        ("", "send a valid API key", "set CASCADE_API_KEY"),
        ("csk_1_x", "does not know this API key", "check CASCADE_API_KEY"),
    ],
)
def test_a_401_is_explained(
    cascade: Cascade,
    service: ScriptedService,
    monkeypatch: pytest.MonkeyPatch,
    key: str,
    message: str,
    remedy: str,
) -> None:
    service.refuse = (401, {"code": "unauthorized", "message": "send a valid API key"})
    monkeypatch.setenv("CASCADE_API_KEY", key)
    result = cascade("generate", "a red circle")
    assert result.exit_code == 2
    assert message in result.stderr
    assert remedy in result.stderr


@pytest.mark.parametrize("key", ["csk_1_x\ncsk_2_y", "sch\u00fcssel", "a b"])
def test_a_key_that_no_header_can_hold_is_bad_usage(
    cascade: Cascade, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("CASCADE_API_KEY", key)
    result = cascade("jobs")
    assert result.exit_code == 2
    assert "CASCADE_API_KEY" in result.stderr
    assert key not in result.stderr
