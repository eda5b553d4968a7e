"""Pictures that clients send: kept for their owner, for a time, as pixels alone."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image, PngImagePlugin
from sqlalchemy import update

from serve.checker import Checker, Refusal
from serve.gateway.dependencies import Services
from serve.gateway.middleware.requests import UPLOAD_LIMITS
from serve.maintenance.backup import export_jobs, import_jobs
from serve.storage.blobs.blob_keys import (
    image_key,
    latent_key,
    preview_key_from_name,
    upload_key,
)
from serve.storage.blobs.blob_store import BlobStore
from serve.storage.blobs.converted_images import Conversions
from serve.storage.database import Database
from serve.storage.records import JobOwner, utc_now
from serve.storage.schema.tables import images, uploads
from tests.limits import HANG_S
from tests.migrated import with_tables
from tests.serve.checkers import ByUser
from tests.serve.conftest import Bearer
from tests.serve.fake_jobs_client import FakeJobsClient
from tests.serve.served import SERVED, serve_instead

PATH = "/v1/uploads"


class Looking(ByUser):
    """Refuses red pictures, and remembers what it saw."""

    def __init__(self) -> None:
        self.seen: list[tuple[str | None, dict[str, Any], JobOwner]] = []

    def check_upload(self, picture: bytes, owner: JobOwner) -> Refusal | None:
        with Image.open(io.BytesIO(picture)) as image:
            self.seen.append((image.format, image.info, owner))
            return Refusal("red") if image.getpixel((0, 0)) == (255, 0, 0) else None


@pytest.fixture
def looking() -> Looking:
    return Looking()


@pytest.fixture
def checkers(looking: Looking) -> list[Checker]:
    return [ByUser(), looking]


def picture(colour: tuple[int, int, int] = (9, 99, 200), size: tuple[int, int] = (64, 48)) -> bytes:
    file = io.BytesIO()
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", "where I live")
    Image.new("RGB", size, colour).save(file, "PNG", pnginfo=info)
    return file.getvalue()


def noise(seed: int, side: int = 400) -> bytes:
    file = io.BytesIO()
    values = np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)
    Image.fromarray(values).save(file, "PNG")
    return file.getvalue()


async def send(client: httpx.AsyncClient, file: bytes, **more: Any) -> httpx.Response:
    return await client.post(PATH, files={"file": ("../../etc/passwd", file)}, **more)


async def test_an_upload_is_its_pixels_and_has_an_end(
    client: httpx.AsyncClient, services: Services
) -> None:
    answer = await send(client, picture())

    body = answer.json()
    assert answer.status_code == 201
    assert body.keys() == {"id", "width", "height", "expires_at"}
    assert (body["width"], body["height"]) == (64, 48)
    assert body["expires_at"] > utc_now().isoformat()[:19]
    assert answer.headers["location"] == f"{PATH}/{body['id']}"
    assert (await client.get(answer.headers["location"])).json() == body
    content = await client.get(f"{PATH}/{body['id']}/content")
    assert content.headers["content-type"] == "image/png"
    with Image.open(io.BytesIO(content.content)) as image:
        assert image.getpixel((3, 3)) == (9, 99, 200)
        assert image.info == {}
    assert b"where I live" not in content.content


async def test_the_same_pixels_again_are_the_same_upload(
    client: httpx.AsyncClient, blobs: BlobStore
) -> None:
    file = io.BytesIO()
    Image.new("RGB", (64, 48), (9, 99, 200)).save(file, "WEBP", lossless=True)

    first, second = await send(client, picture()), await send(client, file.getvalue())

    assert first.json()["id"] == second.json()["id"]
    assert second.json()["expires_at"] >= first.json()["expires_at"]
    assert [len(keys) async for keys in blobs.list_folder("uploads")] == [1]


async def test_another_owner_with_the_same_pixels_has_an_upload_of_its_own(
    client: httpx.AsyncClient, bearer: Bearer
) -> None:
    trusted, other = bearer("create", "read", "trusted"), bearer("create", "read")
    sent = [
        await send(client, picture(), headers=trusted, data={"user": "ann"}),
        await send(client, picture(), headers=trusted, data={"user": "bob"}),
        await send(client, picture(), headers=other),
        await send(client, picture(), headers=other, data={"user": "a label"}),
    ]
    ids = [answer.json()["id"] for answer in sent]
    assert len(set(ids[:3])) == 3
    assert ids[2] == ids[3]
    url = f"{PATH}/{ids[0]}"
    for method, path in (("GET", url), ("GET", url + "/content"), ("DELETE", url)):
        assert (await client.request(method, path, headers=other)).status_code == 404
        as_bob = await client.request(method, path, headers=trusted, params={"user": "bob"})
        assert as_bob.status_code == 404
    as_ann = await client.get(url, headers=trusted, params={"user": "ann"})
    assert as_ann.status_code == 200


@pytest.mark.parametrize(
    ("file", "says"),
    [
        (b"", "sound PNG, JPEG or WebP"),
        (b"<svg/>", "sound PNG, JPEG or WebP"),
        (picture(size=(1, 1)), "32 to 16384 px, got 1x1"),
        (picture(size=(20000, 1)), "32 to 16384 px, got 20000x1"),
    ],
)
async def test_what_is_no_usable_picture_is_a_bad_request(
    client: httpx.AsyncClient, blobs: BlobStore, file: bytes, says: str
) -> None:
    answer = await send(client, file)

    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["field"]) == (400, "invalid_value", "file")
    assert says in error["message"]
    assert [keys async for keys in blobs.list_folder("uploads")] == []


@pytest.mark.parametrize(
    "body",
    [
        {"json": {}},
        {"data": {"file": "text"}},
        {"files": {"picture": b"x"}},
        {"files": {"file": picture()}, "data": {"owner": "root"}},
        {"files": {"file": picture()}, "data": {"user": "a\x07"}},
        {"content": b"--x\r\n", "headers": {"content-type": "multipart/form-data; boundary=x"}},
    ],
)
async def test_a_form_that_is_not_ours_is_a_bad_request(
    client: httpx.AsyncClient, body: dict[str, Any]
) -> None:
    answer = await client.post(PATH, **body)

    assert answer.status_code == 400
    assert {"code", "message", "request_id"} <= answer.json()["error"].keys()


async def test_a_model_without_an_encoder_takes_no_uploads(
    client: httpx.AsyncClient, services: Services
) -> None:
    serve_instead(services, picture_encoder=None)

    answer = await send(client, picture())

    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "unsupported_combination")
    assert "none has an encoder" in answer.json()["error"]["message"]


async def test_a_body_beyond_the_limit_is_refused_while_it_streams(
    live_client: httpx.AsyncClient,
) -> None:
    async def too_long() -> Any:
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n'
        for _ in range(UPLOAD_LIMITS[PATH].size_bytes // 2**20 + 1):
            yield bytes(2**20)

    headers = {"content-type": "multipart/form-data; boundary=x"}
    async with asyncio.timeout(HANG_S):
        answer = await live_client.post(PATH, content=too_long(), headers=headers)

    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")


async def test_an_owner_may_have_so_many_bytes_and_can_make_room(
    client: httpx.AsyncClient, services: Services, blobs: BlobStore, looking: Looking
) -> None:
    services.settings = services.settings.model_copy(update={"upload_quota_mb": 1})
    first = await send(client, noise(0))
    assert first.status_code == 201
    full = await send(client, noise(1, side=500))
    assert (full.status_code, full.json()["error"]["code"]) == (409, "conflict")
    assert "yours take 0.5 MB and this one 0.8 MB" in full.json()["error"]["message"]
    assert len(looking.seen) == 1  # no checker sees what does not fit
    assert [len(keys) async for keys in blobs.list_folder("uploads")] == [1]
    await client.delete(f"{PATH}/{first.json()['id']}")
    made = await send(client, noise(1, side=500))
    assert made.status_code == 201
    again = await send(client, noise(1, side=500))  # the same pixels need no room
    assert (again.status_code, again.json()["id"]) == (201, made.json()["id"])


async def test_an_upload_is_gone_after_its_time(
    client: httpx.AsyncClient, services: Services
) -> None:
    upload_id = (await send(client, picture())).json()["id"]
    with services.database.writing() as connection:
        connection.execute(update(uploads).values(expires_at=utc_now()))

    for path in (f"{PATH}/{upload_id}", f"{PATH}/{upload_id}/content"):
        answer = await client.get(path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (410, "gone")


async def test_a_deleted_upload_leaves_no_bytes(
    client: httpx.AsyncClient, blobs: BlobStore
) -> None:
    upload_id = (await send(client, picture())).json()["id"]

    for _ in range(2):
        answer = await client.delete(f"{PATH}/{upload_id}")
        assert (answer.status_code, answer.headers["x-dependant-count"]) == (204, "0")

    assert not await blobs.exists(upload_key(upload_id))
    assert (await client.get(f"{PATH}/{upload_id}")).status_code == 410
    assert (await send(client, picture())).json()["id"] != upload_id


@pytest.mark.parametrize("with_images", [False, True])
async def test_a_deletion_names_what_was_made_and_takes_it_along_if_asked(
    client: httpx.AsyncClient,
    fake_jobs: FakeJobsClient,
    services: Services,
    blobs: BlobStore,
    with_images: bool,
) -> None:
    upload_id = (await send(client, picture())).json()["id"]
    job_ids = [(await client.post("/v1/jobs", json={"prompt": "x"})).json()["id"] for _ in "ab"]
    await fake_jobs.run(job_ids[0])
    made, planned = (fake_jobs.images(job_id)[0] for job_id in job_ids)
    with services.database.writing() as connection:
        connection.execute(update(images).values(upload_id=upload_id))

    answer = await client.delete(f"{PATH}/{upload_id}", params={"with_images": with_images})

    assert answer.headers["x-dependant-count"] == "2"
    assert answer.headers["x-dependant-ids"] == ",".join(sorted((made.id, planned.id))[::-1])
    image = await client.get(f"/v1/images/{made.id}")
    assert image.status_code == (410 if with_images else 200)
    for key in (image_key(made.id, "png"), latent_key(made.latent_id)):
        assert await blobs.exists(key) is not with_images
    state = (await client.get(f"/v1/jobs/{job_ids[1]}")).json()["state"]
    assert state == ("cancelled" if with_images else "queued")


async def test_after_a_restore_an_upload_is_still_wiped_with_what_was_made_of_it(
    client: httpx.AsyncClient,
    fake_jobs: FakeJobsClient,
    database: Database,
    blobs: BlobStore,
    bearer: Bearer,
    tmp_path: Path,
    services: Services,
) -> None:
    owner, other = bearer("create", "read"), bearer("create", "read")
    upload_id = (await send(client, picture(), headers=owner)).json()["id"]
    body = {"kind": "image_to_image", "image": upload_id, "prompt": "x"}
    job_id = (await client.post("/v1/jobs", json=body, headers=owner)).json()["id"]
    await fake_jobs.run(job_id)
    [image] = fake_jobs.images(job_id)
    archive: list[tuple[str, bytes]] = []
    await export_jobs(database, blobs, lambda name, data: archive.append((name, data)))
    services.database = Database(with_tables(f"sqlite:///{tmp_path}/restored.db"))
    services.blobs = BlobStore((tmp_path / "restored").as_uri())
    await import_jobs(services.database, services.blobs, SERVED, archive)
    wipe = f"{PATH}/{upload_id}?with_images=true"

    assert (await client.delete(wipe, headers=other)).status_code == 404
    assert (await client.get(f"/v1/images/{image.id}", headers=owner)).status_code == 200
    answer = await client.delete(wipe, headers=owner)

    assert (answer.status_code, answer.headers["x-dependant-ids"]) == (204, image.id)
    assert (await client.get(f"/v1/images/{image.id}", headers=owner)).status_code == 410
    assert not await services.blobs.exists(image_key(image.id, "png"))
    services.database.close()


async def test_a_deletion_takes_the_compositions_of_a_draft_along(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, services: Services, blobs: BlobStore
) -> None:
    serve_instead(services, previewer=Path("preview.json"))
    upload_id = (await send(client, picture())).json()["id"]
    body = {"prompt": "x", "stop_after": "c"}
    job_id = (await client.post("/v1/jobs", json=body)).json()["id"]
    await fake_jobs.draft(job_id)
    with services.database.writing() as connection:
        connection.execute(update(images).values(upload_id=upload_id))
    (image,) = fake_jobs.images(job_id)
    assert image.preview is not None
    kept = [latent_key(image.latent_id), preview_key_from_name(job_id, image.preview)]
    assert [await blobs.exists(key) for key in kept] == [True, True]

    await client.delete(f"{PATH}/{upload_id}", params={"with_images": True})

    assert [await blobs.exists(key) for key in kept] == [False, False]
    assert (await client.get(f"/v1/latents/{image.latent_id}")).status_code == 410
    assert (await client.get(f"/v1/jobs/{job_id}")).json()["state"] == "cancelled"


async def test_an_upload_is_told_to_come_back_where_too_many_wait(
    client: httpx.AsyncClient, services: Services
) -> None:
    services.upload_decoding = Conversions(threads=1, max_conversions=0)
    answer = await send(client, picture())
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "not_ready")


class HeldDecoding(Conversions):
    """Converts when it may, and remembers what it was asked for."""

    def __init__(self) -> None:
        super().__init__(threads=1)
        self.may_go_on = asyncio.Event()
        self.came: asyncio.Queue[bytes] = asyncio.Queue()

    async def run(self, convert: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self.came.put_nowait(args[0].read())
        args[0].seek(0)
        await self.may_go_on.wait()
        return await super().run(convert, *args, **kwargs)


async def test_many_uploads_of_one_owner_have_one_place_before_the_decoder(
    client: httpx.AsyncClient, services: Services, bearer: Bearer
) -> None:
    services.upload_decoding = held = HeldDecoding()
    trusted, other = bearer("trusted", "create"), bearer("create")
    of_ann, of_bob, of_other = (trusted, "ann", 1), (trusted, "bob", 2), (other, "ann", 3)
    async with asyncio.timeout(HANG_S), asyncio.TaskGroup() as group:
        sent = [
            group.create_task(send(client, noise(seed), headers=headers, data={"user": user}))
            for headers, user, seed in [*[of_ann] * 6, of_bob, of_other]
        ]
        assert {await held.came.get() for _ in range(3)} == {noise(1), noise(2), noise(3)}
        held.may_go_on.set()
    assert [task.result().status_code for task in sent] == [201] * 8
    assert held.came.qsize() == 5


async def test_a_checker_sees_what_an_image_would_start_from(
    client: httpx.AsyncClient, looking: Looking, bearer: Bearer
) -> None:
    await send(client, picture(), headers=bearer("trusted", "create"), data={"user": "ann"})

    [(image_format, info, owner)] = looking.seen
    assert (image_format, info, owner.user) == ("PNG", {}, "ann")


async def test_a_refused_picture_is_not_kept(
    client: httpx.AsyncClient, blobs: BlobStore, looking: Looking
) -> None:
    answer = await send(client, picture((255, 0, 0)))

    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["field"]) == (
        400,
        "moderation_blocked",
        "file",
    )
    assert "'red'" in error["message"]
    assert [keys async for keys in blobs.list_folder("uploads")] == []
