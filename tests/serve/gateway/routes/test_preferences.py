"""Small values kept by name over HTTP, on both databases."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from serve.storage import preferences
from tests.serve.conftest import Bearer


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, new_database_url: Callable[[str], str]) -> str:
    return new_database_url(request.param)


async def test_a_value_is_kept_replaced_and_forgotten(client: httpx.AsyncClient) -> None:
    url = "/v1/preferences/guild.1"
    assert (await client.get(url)).status_code == 404
    for value in ({"words": ["a"]}, {"words": ["a", "b"]}):
        put = await client.put(url, json={"value": value})
        assert put.json() == {"name": "guild.1", "value": value}
        assert (await client.get(url)).json() == put.json()
    assert (await client.delete(url)).status_code == 204
    assert (await client.delete(url)).status_code == 204
    assert (await client.get(url)).status_code == 404


async def test_every_key_and_end_user_has_names_of_its_own(
    client: httpx.AsyncClient, bearer: Bearer
) -> None:
    bot, other = bearer("create", "read", "trusted"), bearer("create", "read")
    url = "/v1/preferences/defaults"
    for query, number in (("", 0), ("?user=ann", 1), ("?user=bob", 2)):
        put = await client.put(url + query, json={"value": {"n": number}}, headers=bot)
        assert put.is_success
    for query, number in (("", 0), ("?user=ann", 1), ("?user=bob", 2)):
        assert (await client.get(url + query, headers=bot)).json()["value"] == {"n": number}
    assert (await client.get(url, headers=other)).status_code == 404
    assert (await client.get(url + "?user=ann", headers=other)).status_code == 403


async def test_no_user_keeps_more_names_than_allowed(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preferences, "MAX_PER_OWNER", 1)
    assert (await client.put("/v1/preferences/a", json={"value": {}})).is_success
    assert (await client.put("/v1/preferences/a", json={"value": {"n": 1}})).is_success
    full = await client.put("/v1/preferences/b", json={"value": {}})
    assert (full.status_code, full.json()["error"]["code"]) == (409, "conflict")
