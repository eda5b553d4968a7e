"""Where pictures are signed, every door gives a file whose manifest holds, converted or not."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from cascade_core.errors import ProvenanceFailed
from cascade_core.images.image_files import read_marks
from serve.gateway.dependencies import Services
from serve.provenance.certificates import make_credentials
from serve.provenance.credentials import CredentialReader
from serve.provenance.picture_signer import PictureSigner
from serve.provenance.signing_key import FileKey
from serve.storage.blobs.blob_keys import image_key
from serve.storage.blobs.blob_store import BlobStore
from tests.serve.api_calls import code, made
from tests.serve.fake_jobs_client import FakeJobsClient

CREDENTIALS = make_credentials()
READER = CredentialReader(CREDENTIALS.authority_pem)


@pytest.fixture
def fake_jobs(fake_jobs: FakeJobsClient) -> FakeJobsClient:
    fake_jobs.signer = PictureSigner(FileKey(CREDENTIALS.chain_pem, CREDENTIALS.key_pem))
    return fake_jobs


def actions_of(data: bytes) -> list[str]:
    """Return what a trusted file says was done; a rendition's parent is a signed picture."""
    found = READER.read(data, f"image/{read_marks(data).image_format}")
    assert (found.state, found.codes) == ("trusted", ())
    actions = [one.action for one in found.actions]
    if actions != ["c2pa.created"]:
        parents = [(one.relationship, one.is_signed) for one in found.ingredients]
        assert parents == [("parentOf", True)]
    return actions


CONVERTED = ["c2pa.opened", "c2pa.converted"]
BARE = ["c2pa.opened", "c2pa.edited.metadata"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["c2pa.created"]),
        ("?format=webp", CONVERTED),
        ("?format=jpeg", CONVERTED),
        ("?metadata=none", BARE),
    ],
)
async def test_a_picture_by_its_address_or_a_shared_link_is_signed(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, query: str, expected: list[str]
) -> None:
    image_id = (await made(client, fake_jobs))["images"][0]["id"]
    answer = await client.get(f"/v1/images/{image_id}{query}")
    assert actions_of(answer.content) == expected
    body = {"metadata": "none"} if "none" in query else {}
    link = (await client.post(f"/v1/images/{image_id}/share", json=body)).json()["url"]
    shared = await client.get(link + (query.replace("?", "&") if "format" in query else ""))
    assert shared.content == answer.content


async def test_a_picture_that_answers_its_own_job_is_signed(
    client: httpx.AsyncClient, running: FakeJobsClient
) -> None:
    headers = {"accept": "image/webp", "prefer": "wait=60"}
    answer = await client.post("/v1/jobs", json={"prompt": "x"}, headers=headers)
    assert (answer.headers["content-type"], actions_of(answer.content)) == ("image/webp", CONVERTED)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ["c2pa.created"]),
        ({"output_format": "webp"}, ["c2pa.created"]),
        ({"output_format": "jpeg", "output_compression": 50}, CONVERTED),
    ],
)
async def test_pictures_in_openais_form_are_signed(
    client: httpx.AsyncClient,
    running: FakeJobsClient,
    options: dict[str, Any],
    expected: list[str],
) -> None:
    answer = await client.post("/v1/images/generations", json={"prompt": "x"} | options)
    assert actions_of(base64.b64decode(answer.json()["data"][0]["b64_json"])) == expected


async def test_pictures_of_a_stream_in_openais_form_are_signed(
    live_client: httpx.AsyncClient, running: FakeJobsClient
) -> None:
    wanted = {"output_format": "webp", "output_compression": 50, "stream": True}
    answer = await live_client.post("/v1/images/generations", json={"prompt": "x"} | wanted)
    (event,) = [line for line in answer.text.splitlines() if "image_generation.completed" in line][
        1:
    ]
    shown = json.loads(event.removeprefix("data: "))
    assert actions_of(base64.b64decode(shown["b64_json"])) == CONVERTED


async def test_pictures_in_a_zip_are_signed(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    await made(client, fake_jobs, n=2)
    with zipfile.ZipFile(io.BytesIO((await client.get("/v1/library/zip")).content)) as archive:
        files = [archive.read(name) for name in archive.namelist() if name.endswith(".png")]
    assert [actions_of(data) for data in files] == [["c2pa.created"]] * 2


async def test_pictures_in_an_export_are_signed_with_what_was_done_to_them(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    image_id = (await made(client, fake_jobs))["images"][0]["id"]
    body = {"ids": [image_id], "presets": ["story", "link-card", "discord-banner"]}
    answer = await client.post("/v1/exports", json=body | {"originals": True})
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        told = json.loads(archive.read("manifest.json"))["files"]
        found = {one["preset"]: actions_of(archive.read(one["file"])) for one in told}
        assert [one["bytes"] for one in told] == [
            archive.getinfo(one["file"]).file_size for one in told
        ]
    assert found == {
        "original": ["c2pa.created"],
        "story": ["c2pa.opened", "c2pa.resized", "c2pa.edited", "c2pa.converted"],
        "link-card": ["c2pa.opened", "c2pa.cropped", "c2pa.resized", "c2pa.converted"],
        "discord-banner": ["c2pa.opened", "c2pa.cropped", "c2pa.resized"],
    }
    assert {one["credentials"] for one in told} == {"signed"}


async def test_pictures_of_an_export_are_signed(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    image_id = (await made(client, fake_jobs))["images"][0]["id"]
    body = {"ids": [image_id], "presets": ["instagram-square"], "originals": True}
    answer = await client.post("/v1/exports", json=body)
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        files = [archive.read(name) for name in archive.namelist()]
    pictures = [data for data in files if data.startswith((b"\x89PNG", b"RIFF", b"\xff\xd8"))]
    original, rendition = sorted((actions_of(data) for data in pictures), key=len)
    assert original == ["c2pa.created"]
    assert rendition[0] == "c2pa.opened"


async def test_a_copy_from_before_pictures_were_signed_is_not_delivered(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, blobs: BlobStore
) -> None:
    image_id = (await made(client, fake_jobs))["images"][0]["id"]
    await blobs.put(image_key(image_id, "webp"), b"unsigned")
    url = f"/v1/images/{image_id}?format=webp"
    answer = await client.get(url, headers={"if-none-match": f'"{image_id}.webp.all"'})
    assert actions_of(answer.content) == CONVERTED
    await client.delete(f"/v1/images/{image_id}")
    assert not [info async for chunk in blobs.list_folder("images") for info in chunk]


@pytest.fixture
def broken(services: Services, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The device that signs conversions is switched off."""

    def fail(*_: object) -> bytes:
        raise ProvenanceFailed("the device is switched off")

    monkeypatch.setattr(services.signer, "sign_edited", fail)
    return


@pytest.mark.usefixtures("broken")
async def test_a_conversion_that_cannot_be_signed_is_an_error_and_never_an_unsigned_file(
    client: httpx.AsyncClient, running: FakeJobsClient, blobs: BlobStore
) -> None:
    body = {"prompt": "x", "output_format": "jpeg", "output_compression": 50}
    refused = [await client.post("/v1/images/generations", json=body)]
    headers = {"accept": "image/webp", "prefer": "wait=60"}
    refused.append(await client.post("/v1/jobs", json={"prompt": "x"}, headers=headers))
    (image_id, *_) = [item["id"] for item in (await client.get("/v1/library")).json()["items"]]
    link = (await client.post(f"/v1/images/{image_id}/share")).json()["url"]
    for url in (f"/v1/images/{image_id}?metadata=none", f"{link}&format=webp"):
        refused.append(await client.get(url))
    assert [(answer.status_code, code(answer)) for answer in refused] == [
        (503, "provenance_failed")
    ] * 4
    kept = {info.key async for chunk in blobs.list_folder("images") for info in chunk}
    assert all(key.endswith(".png") and "~" not in key for key in kept)
    assert (await client.get(f"/v1/images/{image_id}")).status_code == 200
