from __future__ import annotations

import io
from typing import Any

import httpx
import pytest
from PIL import Image

from cascade_core.errors import NotFound
from cascade_core.handoff import ModelRef
from serve.storage.access.credentials import KeyStore
from serve.storage.blobs.blob_keys import image_key, latent_key, preview_key, thumbnail_key
from serve.storage.blobs.blob_store import BlobStore
from serve.storage.records import LatentRow
from tests.serve.api_calls import NOT_THERE, code, create, made
from tests.serve.fake_jobs_client import PREVIEW, FakeJobsClient


@pytest.mark.parametrize("image_id", NOT_THERE)
async def test_an_unknown_image_or_latent_is_404(client: httpx.AsyncClient, image_id: str) -> None:
    for method, kind in (("GET", "images"), ("DELETE", "images"), ("GET", "latents")):
        answer = await client.request(method, f"/v1/{kind}/{image_id}")
        assert answer.status_code == 404
        assert code(answer) == "not_found"


async def test_an_image_or_latent_whose_bytes_were_lost_is_410_with_the_reason(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, blobs: BlobStore
) -> None:
    image = (await made(client, fake_jobs))["images"][0]
    await blobs.delete(image_key(image["id"], "png"))
    await blobs.delete(latent_key(image["latent_id"]))
    for path in (f"images/{image['id']}", f"latents/{image['latent_id']}"):
        answer = await client.get(f"/v1/{path}")
        assert (answer.status_code, code(answer)) == (410, "gone")
        assert "missing" in answer.json()["error"]["message"]


async def test_an_image_that_is_not_ready_is_404(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    job = await create(client)
    planned = fake_jobs.images(job["id"])[0]
    for method in ("GET", "DELETE"):
        answer = await client.request(method, f"/v1/images/{planned.id}")
        assert answer.status_code == 404


async def test_an_image_comes_as_it_was_stored(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, blobs: BlobStore
) -> None:
    image = (await made(client, fake_jobs))["images"][0]
    answer = await client.get(f"/v1/images/{image['id']}")
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["x-latent-id"] == image["latent_id"]
    assert answer.content == await blobs.get(image_key(image["id"], "png"))


@pytest.mark.parametrize("stored", ["png", "webp", "jpeg"])
@pytest.mark.parametrize("wanted", ["png", "webp", "jpeg"])
async def test_an_image_is_converted_on_demand(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, stored: str, wanted: str
) -> None:
    image = (await made(client, fake_jobs, format=stored))["images"][0]
    answer = await client.get(f"/v1/images/{image['id']}", params={"format": wanted})
    assert answer.headers["content-type"] == f"image/{wanted}"
    opened = Image.open(io.BytesIO(answer.content))
    assert (opened.format or "").lower() == wanted
    assert opened.size == (256, 384)


async def test_an_unknown_format_is_400(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    image = (await made(client, fake_jobs))["images"][0]
    answer = await client.get(f"/v1/images/{image['id']}", params={"format": "gif"})
    assert answer.status_code == 400
    assert answer.json()["error"]["field"] == "format"
    assert "'png', 'webp' or 'jpeg'" in answer.json()["error"]["message"]


async def test_a_deleted_image_is_gone_with_its_latent_and_previews(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, blobs: BlobStore
) -> None:
    job = await made(client, fake_jobs)
    image = job["images"][0]
    preview = f"/v1/jobs/{job['id']}/previews/0-c-5.webp"
    assert (await client.get(preview)).content == PREVIEW
    assert (await client.delete(f"/v1/images/{image['id']}")).status_code == 204
    for path in (f"/v1/images/{image['id']}", f"/v1/latents/{image['latent_id']}"):
        answer = await client.get(path)
        assert (answer.status_code, code(answer)) == (410, "gone")
    assert (await client.get(preview)).status_code == 404
    assert not await blobs.exists(image_key(image["id"], "png"))
    assert not await blobs.exists(latent_key(image["latent_id"]))
    assert not await blobs.exists(preview_key(job["id"], 0, "c", 5))
    assert (await client.get(f"/v1/jobs/{job['id']}")).json()["images"] == []
    assert (await client.delete(f"/v1/images/{image['id']}")).status_code == 204
    answer = await client.post(
        "/v1/jobs", json={"kind": "vary_details", "latent_id": image["latent_id"]}
    )
    assert (answer.status_code, code(answer)) == (410, "gone")


async def test_a_latent_comes_as_msgpack(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    image = (await made(client, fake_jobs))["images"][0]
    answer = await client.get(f"/v1/latents/{image['latent_id']}")
    assert answer.headers["content-type"] == "application/vnd.msgpack"
    assert answer.content == b"latent bytes"


async def test_a_latent_of_an_image_that_is_not_made_is_404(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    job_id = (await create(client))["id"]
    [image], request = fake_jobs.images(job_id), fake_jobs.database.jobs.get(job_id)
    assert request is not None
    row = LatentRow(image.latent_id, job_id, 0, fake_jobs.model, request.request)
    await fake_jobs.blobs.put(latent_key(image.latent_id), b"latent bytes")
    fake_jobs.database.images.save_latent(row, "c")
    answer = await client.get(f"/v1/latents/{image.latent_id}")
    assert (answer.status_code, code(answer)) == (404, "not_found")


@pytest.mark.parametrize(
    "name", ["x", "0-c-6.webp", "0-c-5.png", "..%2f..%2fx", "%00", "0-c-5.webp%00"]
)
async def test_an_unknown_preview_is_404(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, name: str
) -> None:
    job = await made(client, fake_jobs)
    answer = await client.get(f"/v1/jobs/{job['id']}/previews/{name}")
    assert answer.status_code == 404


async def test_details_are_varied_from_a_stored_latent(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    original = await made(client, fake_jobs, seed=3, width=384)
    latent_id = original["images"][0]["latent_id"]
    job = await create_variation(client, latent_id, n=2)
    request = job.json()["request"]
    assert job.status_code == 202
    assert (request["kind"], request["latent_id"], request["n"]) == ("vary_details", latent_id, 2)
    assert (request["prompt"], request["seed"], request["width"]) == ("a red circle", 3, 384)
    await fake_jobs.run(job.json()["id"])
    images = (await client.get(f"/v1/jobs/{job.json()['id']}")).json()["images"]
    assert [image["latent_id"] for image in images] == [latent_id] * 2
    assert len({image["decoder_seed"] for image in images}) == 2


async def create_variation(
    client: httpx.AsyncClient, latent_id: str | None, **more: Any
) -> httpx.Response:
    body = {"kind": "vary_details", "latent_id": latent_id} | more
    return await client.post("/v1/jobs", json=body)


async def test_a_variation_that_cannot_be_is_refused(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    image = (await made(client, fake_jobs))["images"][0]
    unknown = await create_variation(client, "nope")
    assert (unknown.status_code, code(unknown)) == (404, "not_found")
    unnamed = await create_variation(client, None)
    assert (unnamed.status_code, code(unnamed)) == (422, "unsupported_combination")
    changed = await create_variation(client, image["latent_id"], prompt="x")
    assert (changed.status_code, code(changed)) == (422, "unsupported_combination")
    assert changed.json()["error"]["field"] == "prompt"
    job_id = (await create(client))["id"]
    await fake_jobs.make_image(job_id, model=ModelRef("demo", "r0", "f0"))
    foreign = await create_variation(client, fake_jobs.images(job_id)[0].latent_id)
    assert (foreign.status_code, code(foreign)) == (422, "model_mismatch")


async def test_generate_with_a_latent_is_422(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/jobs", json={"prompt": "x", "latent_id": "LAT1"})
    assert (answer.status_code, code(answer)) == (422, "unsupported_combination")


@pytest.mark.parametrize(("query", "side_px"), [("", 256), ("?w=256", 256), ("?w=512", 384)])
async def test_a_thumbnail_is_a_small_bare_webp_that_never_changes(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, query: str, side_px: int
) -> None:
    """A picture that is smaller keeps its size."""
    image = (await made(client, fake_jobs, width=384, height=192 + 64))["images"][0]
    answer = await client.get(f"/v1/thumbs/{image['id']}{query}")
    assert answer.headers["content-type"] == "image/webp"
    assert "immutable" in answer.headers["cache-control"]
    with Image.open(io.BytesIO(answer.content)) as thumbnail:
        assert max(thumbnail.size) == side_px
        assert thumbnail.width * 256 == pytest.approx(thumbnail.height * 384, rel=0.01)
        assert not thumbnail.getexif()
    known = {"if-none-match": answer.headers["etag"]}
    assert (await client.get(f"/v1/thumbs/{image['id']}{query}", headers=known)).status_code == 304


async def test_only_the_listed_thumbnails_are_made(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    image = (await made(client, fake_jobs))["images"][0]
    for width in ("0", "257", "x", "99999"):
        answer = await client.get(f"/v1/thumbs/{image['id']}?w={width}")
        assert (answer.status_code, answer.json()["error"]["field"]) == (400, "w")


async def test_thumbnails_go_with_their_picture(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, blobs: BlobStore
) -> None:
    image = (await made(client, fake_jobs))["images"][0]
    url = f"/v1/thumbs/{image['id']}"
    assert (await client.get(url)).is_success
    assert await blobs.get(thumbnail_key(image["id"], 256))
    await client.delete(f"/v1/images/{image['id']}")
    assert (await client.get(url)).status_code == 410
    with pytest.raises(NotFound):
        await blobs.get(thumbnail_key(image["id"], 256))


async def test_a_screen_of_thumbnails_costs_a_key_one_request(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, keys: KeyStore
) -> None:
    _, token = keys.create("ann", ["read", "create"], 2)
    ann = {"authorization": f"Bearer {token}"}
    job = (await client.post("/v1/jobs", json={"prompt": "x"}, headers=ann)).json()
    await fake_jobs.run(job["id"])
    url = f"/v1/thumbs/{fake_jobs.images(job['id'])[0].id}"
    answers = [await client.get(url, headers=ann) for _ in range(50)]
    assert {answer.status_code for answer in answers} == {200}
    assert (await client.get("/v1/jobs", headers=ann)).status_code == 429
