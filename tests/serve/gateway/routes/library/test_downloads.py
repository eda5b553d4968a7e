"""Pictures downloaded as one zip archive."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import Any
from zipfile import ZIP_STORED, ZipFile

import httpx
import pytest

from serve.gateway.routes.library import downloads
from serve.storage.access.credentials import KeyStore
from serve.storage.blobs.blob_keys import image_key
from serve.storage.blobs.blob_store import BlobStore
from tests.serve.api_calls import code, made
from tests.serve.conftest import Bearer
from tests.serve.fake_jobs_client import FakeJobsClient
from tests.serve.gateway.auth.signed_in import PAGE, sign_in


async def unpacked(client: httpx.AsyncClient, **params: str) -> dict[str, bytes]:
    answer = await client.get("/v1/library/zip", params=params)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/zip")
    assert "attachment" in answer.headers["content-disposition"]
    archive = ZipFile(io.BytesIO(answer.content))
    assert archive.testzip() is None
    for entry in archive.infolist():
        assert (entry.compress_type, entry.flag_bits) == (ZIP_STORED, 0), "sizes stand before data"
        assert re.fullmatch(r"[A-Za-z0-9_.-]+", entry.filename)
    return {name: archive.read(name) for name in archive.namelist()}


async def test_pictures_come_as_they_are_stored_with_what_is_known_of_them(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, blobs: BlobStore
) -> None:
    prompt = "=Ein großes\tHerz, 赤い ../../x"
    (image,) = (await made(client, fake_jobs, prompt=prompt, seed=7, steps=5))["images"]
    await made(client, fake_jobs, prompt="another")
    await client.patch(f"/v1/images/{image['id']}", json={"rating": 4, "tags": ["a", "b"]})
    files = await unpacked(client, q="herz")
    name, *rest = files
    assert rest == ["metadata.json", "metadata.csv"]
    assert name == f"ein-grosses-herz-x-{image['id']}.png"
    assert files[name] == await blobs.get(image_key(image["id"], "png"))
    (told,) = json.loads(files["metadata.json"])["images"]
    expected = {"file": name, "prompt": prompt, "seed": 7, "steps": 5, "rating": 4}
    assert expected.items() <= told.items()
    assert told["tags"] == ["a", "b"]
    (row,) = csv.DictReader(io.StringIO(files["metadata.csv"].decode()))
    assert (row["file"], row["tags"], row["negative_prompt"]) == (name, "a b", "")
    assert row["prompt"] == f"'{prompt}", "no formula"


async def test_pictures_are_chosen_by_ids_or_all_and_a_lost_file_is_named(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, blobs: BlobStore
) -> None:
    first, second, third = (image["id"] for image in (await made(client, fake_jobs, n=3))["images"])
    assert len(await unpacked(client, ids=f"{third},{first}")) == 4
    await blobs.delete(image_key(second, "png"))
    files = await unpacked(client)
    assert len(files) == 4
    told = json.loads(files["metadata.json"])["images"]
    assert [(one["id"], one["file"] is None) for one in told] == [
        (third, False),
        (second, True),
        (first, False),
    ]


@pytest.mark.parametrize(
    ("params", "status", "field"),
    [
        ({"ids": "nope"}, 404, "ids"),
        ({"ids": "a,b", "q": "x"}, 400, "ids"),
        ({"ids": ",".join("x" * 251)}, 400, "ids"),
        ({"q": "colour:red"}, 400, "q"),
    ],
)
async def test_what_cannot_be_downloaded_is_refused(
    client: httpx.AsyncClient, params: dict[str, str], status: int, field: str
) -> None:
    answer = await client.get("/v1/library/zip", params=params)
    assert answer.status_code == status
    assert answer.json()["error"]["field"] == field


async def test_a_search_that_finds_too_many_is_refused(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await made(client, fake_jobs, n=2)
    monkeypatch.setattr(downloads, "MAX_PICTURES", 1)
    answer = await client.get("/v1/library/zip")
    assert (answer.status_code, code(answer)) == (400, "invalid_value")


async def test_a_browser_downloads_its_own_pictures_by_its_cookie(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, keys: KeyStore, bearer: Bearer
) -> None:
    _, token = keys.create("ann", ["create", "read"])
    ids = []
    for headers in ({"authorization": f"Bearer {token}"}, bearer("create", "read")):
        job = (await client.post("/v1/jobs", json={"prompt": "x"}, headers=headers)).json()
        await fake_jobs.run(job["id"])
        ids.append(fake_jobs.images(job["id"])[0].id)
    assert (await sign_in(client, token)).is_success
    url, page = "/v1/library/zip", {"sec-fetch-site": PAGE["sec-fetch-site"]}
    answer = await client.get(url, headers=page)
    told: list[dict[str, Any]] = json.loads(
        ZipFile(io.BytesIO(answer.content)).read("metadata.json")
    )["images"]
    assert [one["id"] for one in told] == ids[:1]
    foreign = await client.get(url, params={"ids": ids[1]}, headers=page)
    assert foreign.status_code == 404
    elsewhere = await client.get(url, headers={"sec-fetch-site": "cross-site"})
    assert elsewhere.status_code == 403
