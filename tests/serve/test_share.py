"""Links to one image for people without a key."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from fastapi import FastAPI

from cascade_core.errors import Forbidden
from serve.db import Database
from serve.share import ShareLinks
from tests.serve.conftest import Bearer
from tests.serve.memory_door import MemoryDoor


@pytest.fixture
def ann(bearer: Bearer) -> dict[str, str]:
    return bearer("create", "read")


async def make_image(client: httpx.AsyncClient, door: MemoryDoor, headers: dict[str, str]) -> str:
    answer = await client.post("/v1/jobs", json={"prompt": "x"}, headers=headers)
    job_id: str = answer.json()["id"]
    await door.run(job_id)
    return door.images(job_id)[0].id


async def share(
    client: httpx.AsyncClient, headers: dict[str, str], image_id: str, **body: Any
) -> httpx.Response:
    return await client.post(f"/v1/images/{image_id}/share", json=body, headers=headers)


def code(answer: httpx.Response) -> str:
    text: str = answer.json()["error"]["code"]
    return text


async def test_a_shared_image_needs_no_key_in_any_format(
    client: httpx.AsyncClient, door: MemoryDoor, ann: dict[str, str]
) -> None:
    image_id = await make_image(client, door, ann)
    shared = await share(client, ann, image_id, expires_in_s=60)
    assert shared.status_code == 200
    url = shared.json()["url"]
    assert url.startswith(f"http://localhost/v1/shared/{image_id}?")
    picture = await client.get(url)
    assert (picture.status_code, picture.headers["content-type"]) == (200, "image/png")
    own = await client.get(f"/v1/images/{image_id}", headers=ann)
    assert picture.content == own.content
    webp = await client.get(url + "&format=webp")
    assert (webp.status_code, webp.headers["content-type"]) == (200, "image/webp")
    assert (await client.get(f"/v1/images/{image_id}")).status_code == 401


async def test_a_link_that_was_changed_in_any_part_is_refused(
    client: httpx.AsyncClient, door: MemoryDoor, ann: dict[str, str]
) -> None:
    first, second = [await make_image(client, door, ann) for _ in range(2)]
    url = (await share(client, ann, first)).json()["url"]
    values = {name: found[0] for name, found in parse_qs(urlsplit(url).query).items()}
    later = str(int(values["expires"]) + 1)
    changed: list[tuple[str, dict[str, str]]] = [
        (second, values),
        (first, values | {"expires": later}),
        (first, values | {"expires": " " + values["expires"]}),
        (first, values | {"expires": "9" * 5000}),
        (first, values | {"expires": "never"}),
        (first, values | {"signature": values["signature"][:-1]}),
        (first, values | {"signature": values["signature"].upper()}),
        (first, values | {"signature": "\u2603"}),
        (first, values | {"signature": "%ff\x00"}),
        (first, {"expires": values["expires"]}),
        (first, {}),
        ("nope", values),
        ("x" * 5000, values),
    ]
    for image_id, query in changed:
        answer = await client.get(f"/v1/shared/{image_id}", params=query)
        assert (answer.status_code, code(answer)) == (403, "forbidden"), query
    assert (await client.get(url)).status_code == 200


async def test_a_link_ends_when_it_said(database: Database) -> None:
    now_s = 1_700_000_000.5
    links = ShareLinks(database, lambda: now_s)
    url, expires_at = links.make("https://pictures.example/", "IMG1", 60)
    query = {name: found[0] for name, found in parse_qs(urlsplit(url).query).items()}
    assert url.startswith("https://pictures.example/v1/shared/IMG1?")
    assert expires_at == datetime.fromtimestamp(1_700_000_060, UTC)
    now_s += 59
    links.check("IMG1", query["expires"], query["signature"])
    now_s += 1
    with pytest.raises(Forbidden, match="expired"):
        links.check("IMG1", query["expires"], query["signature"])


def test_all_gateways_agree_on_the_secret(database: Database, database_url: str) -> None:
    other = Database(database_url)
    url, _ = ShareLinks(database).make("http://x", "IMG1", 60)
    query = {name: found[0] for name, found in parse_qs(urlsplit(url).query).items()}
    ShareLinks(other).check("IMG1", query["expires"], query["signature"])
    other.close()


async def test_a_deleted_image_is_gone_for_its_links_too(
    client: httpx.AsyncClient, door: MemoryDoor, ann: dict[str, str]
) -> None:
    image_id = await make_image(client, door, ann)
    url = (await share(client, ann, image_id)).json()["url"]
    await client.delete(f"/v1/images/{image_id}", headers=ann)
    answer = await client.get(url)
    assert (answer.status_code, code(answer)) == (410, "gone")
    assert (await share(client, ann, image_id)).status_code == 410


@pytest.mark.parametrize("expires_in_s", [0, -1, 30 * 24 * 3600 + 1, "60", 1.5, None])
async def test_a_time_out_of_range_is_400(
    client: httpx.AsyncClient, door: MemoryDoor, ann: dict[str, str], expires_in_s: object
) -> None:
    image_id = await make_image(client, door, ann)
    answer = await share(client, ann, image_id, expires_in_s=expires_in_s)
    assert (answer.status_code, code(answer)) == (400, "invalid_value")


async def test_the_public_address_is_used_where_it_is_configured(
    app: FastAPI, client: httpx.AsyncClient, door: MemoryDoor, ann: dict[str, str]
) -> None:
    settings = app.state.services.settings
    named = settings.model_copy(update={"public_url": "https://pictures.example"})
    object.__setattr__(app.state.services, "settings", named)
    image_id = await make_image(client, door, ann)
    url = (await share(client, ann, image_id)).json()["url"]
    assert url.startswith(f"https://pictures.example/v1/shared/{image_id}?")
