"""Pictures in other formats: few at a time, made once, kept, and gone with their picture."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from cascade_core.images.image_files import convert_image
from serve.gateway.dependencies import Services
from serve.maintenance.retention import GRACE, RetentionWorker
from serve.storage.blobs import converted_images as conversions
from serve.storage.blobs.blob_store import BlobStore
from serve.storage.database import Database
from serve.storage.records import utc_now
from tests.limits import HANG_S
from tests.serve.fake_jobs_client import FakeJobsClient


class Held:
    """Conversions that wait until they are let go; counts them."""

    def __init__(self) -> None:
        self.free = threading.Event()
        self.begun = threading.Semaphore(0)
        self.running = self.most = self.count = 0
        self._lock = threading.Lock()

    def convert(self, *args: Any, **kwargs: Any) -> bytes:
        with self._lock:
            self.count += 1
            self.running += 1
            self.most = max(self.most, self.running)
        self.begun.release()
        self.free.wait(HANG_S)
        with self._lock:
            self.running -= 1
        return convert_image(*args, **kwargs)


@pytest.fixture
def held(services: Services) -> Iterator[Held]:
    held = Held()
    services.conversions = conversions.Conversions(convert=held.convert)
    yield held
    held.free.set()


async def made(client: httpx.AsyncClient, fake_jobs: FakeJobsClient, **body: Any) -> list[str]:
    """Return the ids of a job's images."""
    job = (await client.post("/v1/jobs", json={"prompt": "x"} | body)).json()
    await fake_jobs.run(job["id"])
    return [image.id for image in fake_jobs.images(job["id"])]


async def shared(client: httpx.AsyncClient, image_id: str) -> str:
    url: str = (await client.post(f"/v1/images/{image_id}/share")).json()["url"]
    return url + "&format=webp"


async def test_a_hundred_requests_for_one_picture_cost_one_conversion(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, held: Held
) -> None:
    url = await shared(client, (await made(client, fake_jobs))[0])
    asking = [asyncio.create_task(client.get(url)) for _ in range(100)]
    assert await asyncio.to_thread(held.begun.acquire, timeout=HANG_S)
    held.free.set()
    answers = await asyncio.gather(*asking)
    assert {answer.status_code for answer in answers} == {200}
    assert held.count == 1
    assert (await client.get(url)).content == answers[0].content
    assert held.count == 1


async def test_two_conversions_run_at_a_time_few_wait_and_all_else_goes_on(
    app: FastAPI, client: httpx.AsyncClient, fake_jobs: FakeJobsClient, held: Held
) -> None:
    ids = [image_id for _ in range(3) for image_id in await made(client, fake_jobs, n=8)]
    urls = [await shared(client, image_id) for image_id in ids]
    asking = [asyncio.create_task(client.get(url)) for url in urls]
    # Those that find no room are answered while the others are held.
    refused = await next(asyncio.as_completed(asking))
    assert refused.status_code == 503
    assert int(refused.headers["retry-after"]) > 0
    for _ in range(conversions.THREADS):
        assert await asyncio.to_thread(held.begun.acquire, timeout=HANG_S)
    assert (await client.get("/v1/status")).status_code == 200
    assert (await client.get(f"/v1/images/{ids[0]}")).status_code == 200
    held.free.set()
    answers = await asyncio.gather(*asking)
    codes = [answer.status_code for answer in answers]
    assert codes.count(200) == conversions.MAX_CONVERSIONS
    assert codes.count(503) == len(ids) - conversions.MAX_CONVERSIONS
    assert held.most == conversions.THREADS


async def test_a_conversion_goes_on_for_the_others_when_its_first_client_leaves(
    services: Services, client: httpx.AsyncClient, fake_jobs: FakeJobsClient, held: Held
) -> None:
    image = fake_jobs.database.images.get((await made(client, fake_jobs))[0])
    assert image is not None
    variant = conversions.Variant("webp")
    first, second = (
        asyncio.create_task(services.conversions.stored(fake_jobs.blobs, image, variant))
        for _ in range(2)
    )
    assert await asyncio.to_thread(held.begun.acquire, timeout=HANG_S)
    first.cancel()
    held.free.set()
    assert (await second)[:4] == b"RIFF"


async def test_converted_copies_go_with_their_picture(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, blobs: BlobStore
) -> None:
    image_id = (await made(client, fake_jobs))[0]
    for query in ("format=webp", "metadata=none", "format=jpeg&metadata=none"):
        assert (await client.get(f"/v1/images/{image_id}?{query}")).is_success
    assert await stored(blobs) == {
        f"images/{image_id}{rest}" for rest in (".png", ".webp", "~bare.png", "~bare.jpeg")
    }
    await client.delete(f"/v1/images/{image_id}")
    assert await stored(blobs) == set()


async def test_copies_of_a_picture_that_is_gone_are_found_by_the_upkeep_and_others_stay(
    client: httpx.AsyncClient,
    fake_jobs: FakeJobsClient,
    database: Database,
    blobs: BlobStore,
    services: Services,
) -> None:
    kept, deleted = await made(client, fake_jobs, n=2)
    for image_id in (kept, deleted):
        for query in ("format=webp", "metadata=none"):
            await client.get(f"/v1/images/{image_id}?{query}")
    database.images.delete(deleted)

    async def no_workflows(_before: Any) -> int:
        return 0

    later: Callable[[], Any] = lambda: utc_now() + 2 * GRACE + timedelta(seconds=1)  # noqa: E731
    await RetentionWorker(database, blobs, services.settings, no_workflows, later).run_once()
    assert await stored(blobs) == {
        f"images/{kept}{rest}" for rest in (".png", ".webp", "~bare.png")
    }


async def stored(blobs: BlobStore) -> set[str]:
    return {info.key async for chunk in blobs.list_folder("images") for info in chunk}
