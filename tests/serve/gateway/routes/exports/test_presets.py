"""``/v1/exports/presets``: built-in ones, own ones, and what exports make of them."""

from __future__ import annotations

import io
import json
from typing import Any
from zipfile import ZipFile

import httpx
import pytest
from PIL import Image

from serve.storage.assets import preset_store
from tests.serve.api_calls import made
from tests.serve.conftest import Bearer
from tests.serve.fake_jobs_client import FakeJobsClient

URL = "/v1/exports/presets"


async def listed(client: httpx.AsyncClient) -> dict[str, dict[str, Any]]:
    answer = await client.get(URL)
    assert answer.status_code == 200, answer.text
    return {one["name"]: one for one in answer.json()["presets"]}


async def test_an_own_preset_is_listed_used_replaced_and_deleted(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    wanted = {"width": 300, "height": 100, "fit": "pad", "background": "#ff0000", "format": "webp"}
    more = {"max_bytes": 50_000, "file_name": "shop/{seed}"}
    put = await client.put(f"{URL}/shop", json=wanted | more)
    named = {"name": "shop", "file_name": "shop/{seed}"}
    expected = wanted | named | {"max_bytes": 50_000, "is_built_in": False}
    assert (put.status_code, put.json()) == (200, expected)
    assert (await listed(client))["shop"] == expected
    (image,) = (await made(client, fake_jobs))["images"]
    body = {"ids": [image["id"]], "presets": ["shop", "shop"]}
    archive = ZipFile(io.BytesIO((await client.post("/v1/exports", json=body)).content))
    (one,) = json.loads(archive.read("manifest.json"))["files"]
    assert one["file"] == f"shop/{one['seed']}.webp"
    picture = Image.open(io.BytesIO(archive.read(one["file"]))).convert("RGB")
    assert picture.size == (300, 100)
    red, green, blue = picture.getpixel((2, 2))  # type: ignore[misc]
    assert (red > 240, green < 20, blue < 20) == (True, True, True)
    await client.put(f"{URL}/shop", json={"width": 50, "height": 50})
    assert (await listed(client))["shop"]["format"] == "jpeg"
    for _ in range(2):
        assert (await client.delete(f"{URL}/shop")).status_code == 204
    assert "shop" not in await listed(client)


async def test_every_service_has_the_sizes_of_channels(client: httpx.AsyncClient) -> None:
    square = (await listed(client))["instagram-square"]
    assert (square["width"], square["height"], square["is_built_in"]) == (1080, 1080, True)


async def test_presets_are_changed_by_publishers_alone(
    client: httpx.AsyncClient, bearer: Bearer
) -> None:
    reader, publisher = bearer("read", "review", "create"), bearer("read", "publish")
    body = {"width": 100, "height": 100}
    for method in ("PUT", "DELETE"):
        given = {"json": body} if method == "PUT" else {}
        refused = await client.request(method, f"{URL}/shop", headers=reader, **given)
        assert refused.status_code == 403
        done = await client.request(method, f"{URL}/shop", headers=publisher, **given)
        assert done.is_success


@pytest.mark.parametrize(
    ("name", "change", "field"),
    [
        ("story", {}, "name"),
        ("Shop", {}, "name"),
        ("shop", {"width": 15}, "width"),
        ("shop", {"height": 5000}, "height"),
        ("shop", {"fit": "stretch"}, "fit"),
        ("shop", {"background": "red"}, "background"),
        ("shop", {"max_bytes": 10}, "max_bytes"),
        ("shop", {"file_name": "../{seed}"}, "file_name"),
        ("shop", {"max_bytes": 50_000, "format": "png"}, "max_bytes"),
    ],
)
async def test_presets_that_cannot_be_are_refused_by_field(
    client: httpx.AsyncClient, name: str, change: dict[str, Any], field: str
) -> None:
    answer = await client.put(f"{URL}/{name}", json={"width": 100, "height": 100} | change)
    assert (answer.status_code, answer.json()["error"]["field"]) == (400, field)


async def test_there_may_be_so_many_presets(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preset_store, "MAX_PRESETS", 1)
    body = {"width": 100, "height": 100}
    await client.put(f"{URL}/one", json=body)
    assert (await client.put(f"{URL}/one", json=body)).status_code == 200
    assert (await client.put(f"{URL}/two", json=body)).status_code == 409
