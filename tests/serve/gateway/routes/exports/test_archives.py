"""``POST /v1/exports``: renditions and originals in one archive that says what they are."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from typing import Any
from zipfile import ZipFile

import httpx
import numpy as np
import pytest
from PIL import Image

from cascade_core.images.image_files import encode_image, read_info, read_pixels
from serve.storage.blobs.blob_keys import image_key
from serve.storage.blobs.blob_store import BlobStore
from serve.storage.database import Database
from tests.serve.api_calls import code, made
from tests.serve.conftest import Bearer
from tests.serve.fake_jobs_client import FakeJobsClient


def opened(answer: httpx.Response) -> tuple[dict[str, bytes], list[dict[str, Any]]]:
    """Return the files of an archive, and what its manifest says of them."""
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/zip")
    archive = ZipFile(io.BytesIO(answer.content))
    assert archive.testzip() is None
    files = {name: archive.read(name) for name in archive.namelist()}
    return files, json.loads(files["manifest.json"])["files"]


async def exported(
    client: httpx.AsyncClient, headers: dict[str, str] | None = None, **body: Any
) -> tuple[dict[str, bytes], list[dict[str, Any]]]:
    return opened(await client.post("/v1/exports", json=body, headers=headers))


async def act(
    client: httpx.AsyncClient, image_id: str, action: str, headers: dict[str, str] | None = None
) -> None:
    url = f"/v1/assets/{image_id}/transitions"
    answer = await client.post(url, json={"action": action}, headers=headers)
    assert answer.status_code == 200, answer.text


async def test_an_export_has_each_picture_in_each_form_and_says_what_they_are(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, blobs: BlobStore, database: Database
) -> None:
    prompt = "=a red circle"
    (image,) = (await made(client, fake_jobs, prompt=prompt, seed=7))["images"]
    image_id = image["id"]
    await act(client, image_id, "submit")
    await act(client, image_id, "approve")
    presets = ["instagram-square", "web"]
    files, told = await exported(client, ids=[image_id], presets=presets, originals=True)
    start = f"a-red-circle-{image_id}"
    assert list(files) == [
        f"original/{start}.png",
        f"instagram-square/{start}.jpg",
        f"web/{start}.webp",
        "manifest.json",
        "manifest.csv",
        "models/demo.json",
        "LICENCES.txt",
    ]
    assert files[f"original/{start}.png"] == await blobs.get(image_key(image_id, "png"))
    assert Image.open(io.BytesIO(files[f"instagram-square/{start}.jpg"])).size == (1080, 1080)
    for one in told:
        data = files[one["file"]]
        assert one["sha256"] == hashlib.sha256(data).hexdigest()
        assert one["bytes"] == len(data)
        expected = {"image_id": image_id, "seed": 7, "prompt": prompt, "state": "approved"}
        assert expected.items() <= one.items()
        assert one["approved_by"] == {"key": "local", "user": None}
        assert (one["model"]["id"], one["licence"]) == ("demo", "Apache-2.0")
        assert one["cost_s"]
    assert "enlarged" in told[1]["warnings"][0]
    row = list(csv.DictReader(io.StringIO(files["manifest.csv"].decode())))[1]
    assert (row["file"], row["prompt"]) == (f"instagram-square/{start}.jpg", f"'{prompt}")
    assert json.loads(files["models/demo.json"])["licence"] == "Apache-2.0"
    assert b"demo (" in files["LICENCES.txt"]
    (event,) = database.audit.page(None, None, 1)
    assert (event.action, event.details["assets"]) == ("export", [image_id])
    assert json.loads(files["manifest.json"])["audit_hash"] == event.hash


async def test_a_search_exports_originals_and_no_two_files_have_one_name(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    await made(client, fake_jobs, n=3)
    files, told = await exported(client, q="circle", name="all/{prompt}.{preset}")
    names = [one["file"] for one in told]
    assert names == [
        "all/a-red-circle.original.png",
        "all/a-red-circle.original-2.png",
        "all/a-red-circle.original-3.png",
    ]
    assert set(names) < set(files)


async def test_names_have_whole_words_of_long_prompts(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    for prompt in ("a large red heart in the center on a white background", "x" * 60):
        await made(client, fake_jobs, prompt=prompt)
    _, told = await exported(client, q="", name="{prompt}")
    names = [one["file"] for one in told]
    assert names == [f"{'x' * 40}.png", "a-large-red-heart-in-the-center-on-a.png"]


async def test_renditions_keep_or_lose_their_texts(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    (image,) = (await made(client, fake_jobs))["images"]
    for metadata, is_there in (("all", True), ("none", False)):
        files, (one,) = await exported(client, ids=[image["id"]], presets=["x"], metadata=metadata)
        assert (read_info(files[one["file"]]) is not None) is is_there
        assert ("circle" in one["file"]) is is_there
        assert ("prompt" in one) is is_there


async def test_a_crop_keeps_the_focal_point(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, blobs: BlobStore
) -> None:
    (image,) = (await made(client, fake_jobs))["images"]
    brighter_hwc = np.tile(np.arange(256, dtype=np.uint8)[None, :, None], (256, 1, 3))
    await blobs.put(image_key(image["id"], "png"), encode_image(brighter_hwc, "png", None))
    means = []
    for x in (0.0, 1.0):
        points = {image["id"]: {"x": x, "y": 0.5}}
        files, (one,) = await exported(
            client, ids=[image["id"]], presets=["pinterest"], focal_points=points
        )
        means.append(read_pixels(files[one["file"]]).mean())
    assert means[0] < 100 < 150 < means[1]


async def test_what_cannot_be_exported_is_named(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, blobs: BlobStore
) -> None:
    lost, changed, broken = (
        image["id"] for image in (await made(client, fake_jobs, n=3))["images"]
    )
    await act(client, changed, "submit")
    await blobs.delete(image_key(lost, "png"))
    await blobs.put(image_key(changed, "png"), b"another file")
    await blobs.put(image_key(broken, "png"), b"no picture")
    _, told = await exported(client, ids=[lost, changed, broken], presets=["x"])
    codes = [(one["image_id"], one["file"], one["error"]["code"]) for one in told]
    assert codes == [
        (lost, None, "gone"),
        (changed, None, "asset_damaged"),
        (broken, None, "invalid_value"),
    ]


async def test_other_peoples_pictures_are_exported_once_they_are_approved(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, bearer: Bearer
) -> None:
    ann, bea, carl = (bearer(*one) for one in (["create", "read"], ["read", "review"], ["read"]))
    job = (await client.post("/v1/jobs", json={"prompt": "x"}, headers=ann)).json()
    await fake_jobs.run(job["id"])
    (image,) = fake_jobs.images(job["id"])
    body = {"ids": [image.id]}
    assert (await client.post("/v1/exports", json=body, headers=carl)).status_code == 404
    await act(client, image.id, "submit", ann)
    assert (await client.post("/v1/exports", json=body, headers=carl)).status_code == 404
    await act(client, image.id, "approve", bea)
    _, (one,) = await exported(client, carl, **body)
    assert one["state"] == "approved"
    assert "boards" not in one, "those are the owner's"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "ids"),
        ({"ids": ["x"], "q": "x"}, "ids"),
        ({"ids": ["nope"]}, None),
        ({"q": "colour:red"}, "q"),
        ({"q": "nothing"}, "q"),
        ({"ids": ["x"], "presets": ["nope"]}, "presets"),
        ({"ids": ["x"], "name": "../{image_id}"}, "name"),
        ({"ids": ["x"], "name": "/etc/{image_id}"}, "name"),
        ({"ids": ["x"], "name": "{image_id}/.x"}, "name"),
        ({"ids": ["x"], "name": "{image_id.__class__}"}, "name"),
        ({"ids": ["x"], "name": "{path}"}, "name"),
        ({"ids": ["x"], "focal_points": {"x": {"x": 2, "y": 0}}}, "focal_points.x.x"),
        ({"ids": ["x"], "metadata": "some"}, "metadata"),
    ],
)
async def test_bad_bodies_are_refused_by_field(
    client: httpx.AsyncClient, body: dict[str, Any], field: str | None
) -> None:
    answer = await client.post("/v1/exports", json=body)
    assert answer.status_code in (400, 404)
    assert answer.json()["error"].get("field") == field, code(answer)
