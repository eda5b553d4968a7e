"""Jobs that start from an upload or from a picture of this service, over HTTP."""

from __future__ import annotations

import io
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from PIL import Image
from sqlalchemy import update

from serve.gateway.dependencies import Services
from serve.storage.records import utc_now
from serve.storage.schema.tables import uploads
from tests.serve.conftest import Bearer
from tests.serve.fake_jobs_client import FakeJobsClient
from tests.serve.served import serve_instead

KIND = "image_to_image"
Upload = Callable[..., Awaitable[str]]


@pytest.fixture
def upload(client: httpx.AsyncClient) -> Upload:
    async def send(width: int = 256, height: int = 256, **more: Any) -> str:
        file = io.BytesIO()
        Image.new("RGB", (width, height), (9, 99, 200)).save(file, "PNG")
        answer = await client.post("/v1/uploads", files={"file": file.getvalue()}, **more)
        upload_id: str = answer.json()["id"]
        return upload_id

    return send


async def submit(client: httpx.AsyncClient, image: str, **more: Any) -> httpx.Response:
    options = {"headers": more.pop("headers", {})}
    body = {"kind": KIND, "image": image, "prompt": "a blue ring"} | more
    return await client.post("/v1/jobs", json=body, **options)


async def picture(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, **options: Any
) -> dict[str, Any]:
    """A picture of the service, as its job tells of it."""
    job = (await client.post("/v1/jobs", json={"prompt": "x", "width": 384}, **options)).json()
    await fake_jobs.run(job["id"])
    found: dict[str, Any] = (await client.get(f"/v1/jobs/{job['id']}", **options)).json()
    return found["images"][0]


async def test_a_job_starts_from_an_upload(
    client: httpx.AsyncClient, upload: Upload, fake_jobs: FakeJobsClient
) -> None:
    upload_id = await upload()

    answer = await submit(client, upload_id, n=2, seed=5)

    job = answer.json()
    assert answer.status_code == 202
    request = job["request"]
    assert (request["image"], request["latent_id"], request["strength"]) == (upload_id, None, 0.7)
    assert [image.upload_id for image in fake_jobs.images(job["id"])] == [upload_id] * 2
    assert len({image.latent_id for image in fake_jobs.images(job["id"])}) == 2
    deleted = await client.delete(f"/v1/uploads/{upload_id}")
    assert deleted.headers["x-dependant-count"] == "2"


async def test_a_job_starts_from_a_pictures_latent(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    source = await picture(client, fake_jobs)

    request = (await submit(client, source["id"], strength="strong")).json()["request"]

    assert (request["image"], request["latent_id"]) == (source["id"], source["latent_id"])
    assert (request["width"], request["height"]) == (384, 384)
    assert (request["prompt"], request["strength"]) == ("a blue ring", 0.9)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((256, 384), (256, 384)),
        ((1000, 1000), (384, 384)),
        ((3000, 2000), (384, 256)),
        ((2000, 200), (512, 256)),
    ],
)
async def test_a_picture_has_the_aspect_of_its_upload_unless_a_size_is_given(
    client: httpx.AsyncClient, upload: Upload, size: tuple[int, int], expected: tuple[int, int]
) -> None:
    upload_id = await upload(*size)

    free = (await submit(client, upload_id)).json()["request"]
    asked = (await submit(client, upload_id, width=512, height=512)).json()["request"]
    half_asked = (await submit(client, upload_id, width=512)).json()["request"]

    assert (free["width"], free["height"]) == expected
    assert (asked["width"], asked["height"]) == (512, 512)
    assert (half_asked["width"], half_asked["height"]) == (512, 384)


@pytest.mark.parametrize(
    ("change", "status", "field"),
    [
        ({"prompt": None}, 400, "prompt"),
        ({"prompt": "  "}, 400, "prompt"),
        ({"image": None}, 400, "image"),
        ({"image": "../x"}, 404, "image"),
        ({"image": "01JXQ5W8T3M4N6P7R8S9T0V1W2"}, 404, "image"),
        ({"strength": 1.01}, 400, "strength"),
        ({"strength": -0.1}, 400, "strength"),
        ({"width": 1024}, 400, "width"),
        ({"latent_id": "LAT"}, 422, "latent_id"),
        ({"kind": "generate"}, 422, "image"),
        ({"kind": "vary"}, 422, "image"),
    ],
)
async def test_a_value_that_does_not_fit_is_named(
    client: httpx.AsyncClient, upload: Upload, change: dict[str, Any], status: int, field: str
) -> None:
    body = {"kind": KIND, "image": await upload(), "prompt": "x"} | change
    answer = await client.post(
        "/v1/jobs", json={name: value for name, value in body.items() if value is not None}
    )
    assert (answer.status_code, answer.json()["error"]["field"]) == (status, field)


async def test_the_size_of_a_picture_cannot_be_changed(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    source = await picture(client, fake_jobs)

    same = await submit(client, source["id"], width=384, height=384)
    other = await submit(client, source["id"], width=256)

    assert same.status_code == 202
    assert (other.status_code, other.json()["error"]["field"]) == (422, "width")


async def test_what_was_deleted_or_has_expired_is_gone(
    client: httpx.AsyncClient, upload: Upload, fake_jobs: FakeJobsClient, services: Services
) -> None:
    source, deleted_id, expired_id = await picture(client, fake_jobs), await upload(), ""
    await client.delete(f"/v1/images/{source['id']}")
    await client.delete(f"/v1/uploads/{deleted_id}")
    expired_id = await upload(300)
    with services.database.writing() as connection:
        connection.execute(update(uploads).values(expires_at=utc_now()))

    for image_id in (source["id"], deleted_id, expired_id, expired_id):
        answer = await submit(client, image_id)
        assert (answer.status_code, answer.json()["error"]["code"]) == (410, "gone")


async def test_a_job_keeps_its_upload_longer(
    client: httpx.AsyncClient, upload: Upload, services: Services
) -> None:
    upload_id = await upload()
    before = (await client.get(f"/v1/uploads/{upload_id}")).json()["expires_at"]
    services.settings = services.settings.model_copy(update={"upload_hours": 48.0})

    await submit(client, upload_id)

    assert (await client.get(f"/v1/uploads/{upload_id}")).json()["expires_at"] > before


async def test_other_peoples_uploads_and_pictures_are_not_found(
    client: httpx.AsyncClient, upload: Upload, fake_jobs: FakeJobsClient, bearer: Bearer
) -> None:
    ann, bob = bearer("create", "read"), bearer("create", "read")
    ids = [await upload(headers=ann), (await picture(client, fake_jobs, headers=ann))["id"]]
    missing = await submit(client, "01JXQ5W8T3M4N6P7R8S9T0V1W2", headers=bob)
    for image_id in ids:
        foreign = await submit(client, image_id, headers=bob)
        assert foreign.status_code == 404
        errors = (answer.json()["error"] | {"request_id": ""} for answer in (foreign, missing))
        assert next(errors) == next(errors)
        assert (await submit(client, image_id, headers=ann)).status_code == 202


async def test_a_model_without_an_encoder_starts_from_its_own_pictures_alone(
    client: httpx.AsyncClient, upload: Upload, fake_jobs: FakeJobsClient, services: Services
) -> None:
    upload_id, source = await upload(), await picture(client, fake_jobs)
    serve_instead(services, picture_encoder=None)

    refused = await submit(client, upload_id)

    assert (refused.status_code, refused.json()["error"]["field"]) == (422, "image")
    assert "has no encoder" in refused.json()["error"]["message"]
    assert (await submit(client, source["id"])).status_code == 202
