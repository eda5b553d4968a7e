"""OpenAI's own client against the whole service on real Ray, through Serve's proxy."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import AsyncIterator

import openai
import pytest
import pytest_asyncio
from openai import AsyncOpenAI
from PIL import Image

from serve.local.running import Running
from tests.limits import HANG_S
from tests.ray.client import ServiceClient

pytestmark = pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")
PROMPT = "a large red circle in the center on a white background"
SLOW = {"steps": 100, "decoder_steps": 100}


@pytest_asyncio.fixture
async def client(running: Running) -> AsyncIterator[AsyncOpenAI]:
    url = f"{running.url}/v1"
    async with AsyncOpenAI(base_url=url, api_key="any", timeout=HANG_S, max_retries=0) as client:
        yield client


def pixels(b64_json: str | None) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(b64_json or "")))


async def test_an_image_comes_with_partial_images_and_can_be_varied(client: AsyncOpenAI) -> None:
    stream = await client.images.generate(
        prompt=PROMPT, size="256x256", stream=True, partial_images=3, extra_body={"seed": 7}
    )
    *partial, completed = [event async for event in stream]
    assert [event.type for event in partial] == ["image_generation.partial_image"] * 3
    assert max(pixels(partial[0].b64_json).size) <= 192  # Stage C's previews
    assert completed.type == "image_generation.completed"
    assert pixels(completed.b64_json).size == (256, 256)

    again = await client.images.generate(prompt=PROMPT, size="256x256", extra_body={"seed": 7})
    assert again.data is not None
    first, second = pixels(completed.b64_json), pixels(again.data[0].b64_json)
    assert first.tobytes() == second.tobytes()

    varied = await client.images.create_variation(
        image=base64.b64decode(completed.b64_json), response_format="b64_json"
    )
    shown = varied.model_dump()["data"][0]
    assert shown["latent_id"] == completed.to_dict()["latent_id"]
    assert pixels(shown["b64_json"]).tobytes() != first.tobytes()


async def test_mistakes_are_the_clients_own_errors(client: AsyncOpenAI) -> None:
    assert [model.id async for model in client.models.list()] == ["demo"]
    with pytest.raises(openai.BadRequestError) as caught:
        await client.images.generate(prompt=PROMPT, size="100x100")
    assert caught.value.param == "size"
    with pytest.raises(openai.BadRequestError, match="PNG"):
        await client.images.create_variation(image=b"no picture")


async def test_a_client_that_leaves_cancels_its_job(
    client: AsyncOpenAI, service: ServiceClient
) -> None:
    known = await asyncio.to_thread(job_ids, service)
    generating = asyncio.create_task(
        client.images.generate(prompt=PROMPT, size="512x512", extra_body=SLOW)
    )
    [job_id] = await asyncio.to_thread(service.wait_for_new_job, known)
    generating.cancel()
    await asyncio.gather(generating, return_exceptions=True)
    job = await asyncio.to_thread(service.finished, job_id)
    assert job["state"] == "cancelled"


async def test_a_client_that_leaves_the_stream_cancels_its_job(
    client: AsyncOpenAI, service: ServiceClient
) -> None:
    stream = await client.images.generate(
        prompt=PROMPT, size="512x512", stream=True, partial_images=3, extra_body=SLOW
    )
    first = await anext(aiter(stream))
    await stream.close()
    job = await asyncio.to_thread(service.finished, first.to_dict()["job_id"])
    assert job["state"] == "cancelled"


def job_ids(service: ServiceClient) -> set[str]:
    return {job["id"] for job in service.http.get("/v1/jobs").json()["jobs"]}
