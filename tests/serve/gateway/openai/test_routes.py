"""OpenAI's own client against the gateway over a real socket: images, models, errors."""

from __future__ import annotations

import asyncio
import base64
import io
from functools import partial
from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from cascade_core.errors import NotReady, OutOfMemory
from cascade_core.images.image_files import read_info
from serve.gateway.dependencies import Services
from serve.responses import errors as http_errors
from serve.storage.access.credentials import KeyStore
from tests.limits import HANG_S
from tests.serve.fake_jobs_client import FakeJobsClient


@pytest.fixture
def client(openai_client: AsyncOpenAI) -> AsyncOpenAI:
    return openai_client


def opened(b64_json: str | None) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(b64_json or "")))


async def test_a_prompt_becomes_an_image(client: AsyncOpenAI, running: FakeJobsClient) -> None:
    answer = await client.images.generate(prompt="a red circle")
    assert answer.data is not None
    [image] = answer.data
    assert opened(image.b64_json).size == (256, 384)
    assert opened(image.b64_json).format == "PNG"
    assert (image.url, image.revised_prompt) == (None, None)
    assert (answer.size, answer.output_format, answer.background) == ("256x384", "png", "opaque")
    assert answer.usage is not None
    assert answer.usage.total_tokens == 0
    assert answer.created > 1_700_000_000


async def test_the_clients_that_block_are_served_as_well(
    live_client: httpx.AsyncClient, running: FakeJobsClient
) -> None:
    url = str(live_client.base_url.join("/v1"))

    def generate() -> openai.types.ImagesResponse:
        with OpenAI(base_url=url, api_key="any", max_retries=0) as client:
            return client.images.generate(prompt="x", model="demo", n=2, size="256x256")

    answer = await asyncio.to_thread(generate)
    assert [opened(image.b64_json).size for image in answer.data or ()] == [(256, 256)] * 2


async def test_our_own_values_go_in_by_extra_body_and_come_out(
    client: AsyncOpenAI, running: FakeJobsClient
) -> None:
    extra = {
        "negative_prompt": "blurred",
        "seed": 3,
        "steps": 9,
        "guidance_scale": 2.5,
        "decoder_steps": 4,
        "decoder_guidance_scale": 1.1,
        "decoder_seed": 8,
    }
    answer = await client.images.generate(prompt="x", n=2, user="ann", extra_body=extra)
    shown = answer.model_dump()
    job = running.database.jobs.get(shown["job_id"])
    assert job is not None
    assert extra.items() <= job.request.to_dict().items()
    assert job.owner.user == "ann"
    for index, image in enumerate(shown["data"]):
        assert (image["seed"], image["decoder_seed"]) == (3 + index, 8 + index)
        info = read_info(base64.b64decode(image["b64_json"])) or {}
        assert (info["image_id"], info["latent_id"]) == (image["image_id"], image["latent_id"])


async def test_images_can_be_fetched_by_their_addresses_without_a_key(
    client: AsyncOpenAI, live_client: httpx.AsyncClient, running: FakeJobsClient, keys: KeyStore
) -> None:
    client = client.with_options(api_key=keys.create("ann", ["create"])[1])
    answer = await client.images.generate(
        prompt="x", response_format="url", output_format="webp", size="auto"
    )
    assert answer.data is not None
    [image] = answer.data
    assert image.b64_json is None
    assert (await live_client.get("/v1/jobs")).status_code == 401
    fetched = await live_client.get(image.url or "")
    assert fetched.headers["content-type"] == "image/webp"


async def test_compression_is_the_quality_of_the_file_and_not_of_the_stored_image(
    client: AsyncOpenAI, running: FakeJobsClient
) -> None:
    coarseness = []
    for quality in (5, 95):
        answer = await client.images.generate(
            prompt="x", output_format="jpeg", output_compression=quality
        )
        assert answer.data is not None
        image = opened(answer.data[0].b64_json)
        assert isinstance(image, JpegImageFile)
        coarseness.append(sum(image.quantization[0]))
        job = running.database.jobs.get(answer.model_dump()["job_id"])
        assert job is not None
        assert job.request.format == "png"
    assert coarseness[0] > coarseness[1]


async def test_what_has_no_effect_is_accepted_and_said(
    client: AsyncOpenAI, running: FakeJobsClient
) -> None:
    answer = await client.images.generate(
        prompt="x",
        background="opaque",
        moderation="low",
        quality="high",
        style="vivid",
        output_compression=50,
        extra_body={"decoder_steps": 7},
    )
    warnings = answer.model_dump()["warnings"]
    assert [warning.split()[0] for warning in warnings] == [
        "quality",
        "style",
        "output_compression",
    ]
    answer = await client.images.generate(prompt="x", quality="auto", background="auto")
    assert answer.model_dump()["warnings"] == []


@pytest.mark.parametrize(
    ("quality", "steps"),
    [("low", 4), ("medium", 10), ("high", 20), ("hd", 20), ("standard", 6), ("auto", 6)],
)
async def test_quality_is_a_number_of_decoder_steps(
    client: AsyncOpenAI, running: FakeJobsClient, quality: Any, steps: int
) -> None:
    answer = await client.images.generate(prompt="x", quality=quality)
    job = running.database.jobs.get(answer.model_dump()["job_id"])
    assert job is not None
    assert job.request.decoder_steps == steps
    assert answer.model_dump()["warnings"] == []


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"n": 9}, "n", "between 1 and 8"),
        ({"n": 0}, "n", "between 1 and 8"),
        ({"size": "1024x1024"}, "size", "between 256 and 512"),
        ({"size": "300x256"}, "size", "multiple of 128"),
        ({"size": "large"}, "size", "WIDTHxHEIGHT"),
        ({"size": "999999x1"}, "size", "WIDTHxHEIGHT"),
        ({"size": "\u0663\u0662x256"}, "size", "WIDTHxHEIGHT"),
        ({"background": "transparent"}, "background", "'auto' or 'opaque'"),
        ({"output_format": "svg"}, "output_format", "'png', 'webp' or 'jpeg'"),
        ({"output_compression": 101}, "output_compression", "100"),
        ({"quality": "best"}, "quality", "'auto'"),
        ({"moderation": "none"}, "moderation", "'low'"),
        ({"style": "oil"}, "style", "'vivid'"),
        ({"response_format": "file"}, "response_format", "'b64_json' or 'url'"),
        ({"prompt": "x" * 2001}, "prompt", "at most 2000"),
        ({"user": "a\nb"}, "user", "printable"),
        ({"extra_body": {"seed": -1}}, "seed", "between 0"),
        ({"extra_body": {"colour": 1}}, "colour", "unknown"),
        ({"extra_body": {"partial_images": 4}}, "partial_images", "3"),
    ],
)
async def test_a_bad_value_is_a_bad_request_that_names_it(
    client: AsyncOpenAI, changes: dict[str, Any], field: str, words: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await client.images.generate(**{"prompt": "x"} | changes)
    error = caught.value
    assert (error.code, error.param, error.type) == (
        "invalid_value",
        field,
        "invalid_request_error",
    )
    assert words in error.message


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"response_format": "url", "extra_body": {"stream": True}}, "response_format"),
        ({"response_format": "url", "output_compression": 50}, "output_compression"),
    ],
)
async def test_values_that_do_not_go_together_are_unprocessable(
    client: AsyncOpenAI, changes: dict[str, Any], field: str
) -> None:
    with pytest.raises(openai.UnprocessableEntityError) as caught:
        await client.images.generate(prompt="x", **changes)
    assert caught.value.param == field


async def test_another_model_is_not_found(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        await client.images.generate(prompt="x", model="gpt-image-2")
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


async def test_models_are_listed_and_found(client: AsyncOpenAI, services: Services) -> None:
    listed = [model async for model in client.models.list()]
    assert [model.id for model in listed] == [services.models.default.id]
    found = await client.models.retrieve("demo")
    assert found == listed[0]
    assert (found.object, found.owned_by) == ("model", "cascade-serve")
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("gpt-image-2")


@pytest.mark.parametrize("checkpoint_id", ["stabilityai/stable-cascade"])
async def test_a_model_from_the_hub_is_found_by_its_id_with_a_slash(
    client: AsyncOpenAI, checkpoint_id: str
) -> None:
    found = await client.models.retrieve(checkpoint_id)
    assert (found.id, found.owned_by) == (checkpoint_id, "stabilityai")


async def test_a_service_that_is_not_ready_says_when_to_come_back(
    client: AsyncOpenAI, fake_jobs: FakeJobsClient
) -> None:
    fake_jobs.error = NotReady("the service is shutting down")
    with pytest.raises(openai.InternalServerError) as caught:
        await client.images.generate(prompt="x")
    assert caught.value.status_code == 503
    assert caught.value.type == "server_error"
    assert int(caught.value.response.headers["retry-after"]) > 0


async def test_the_client_tries_again_by_itself_where_that_can_help(
    client: AsyncOpenAI, fake_jobs: FakeJobsClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_errors, "RETRY_AFTER_S", 0)

    failed: list[str] = []

    async def fail_once(job_id: str) -> None:
        failed.append(job_id)
        fake_jobs.on_submit = fake_jobs.run
        fake_jobs.finish(job_id, "failed", OutOfMemory("the device ran out of memory"))

    fake_jobs.on_submit = fail_once
    quick = client.with_options(max_retries=1)
    answer = await quick.images.generate(prompt="x")
    assert answer.data is not None
    assert answer.model_dump()["job_id"] not in failed


async def test_a_failed_job_is_an_error_with_the_jobs_id(
    client: AsyncOpenAI, fake_jobs: FakeJobsClient
) -> None:
    failed: list[str] = []

    async def fail(job_id: str) -> None:
        failed.append(job_id)
        fake_jobs.finish(job_id, "failed", OutOfMemory("the device ran out of memory"))

    fake_jobs.on_submit = fail
    with pytest.raises(openai.InternalServerError) as caught:
        await client.images.generate(prompt="x")
    assert (caught.value.status_code, caught.value.code) == (503, "out_of_memory")
    assert [caught.value.response.json()["job_id"]] == failed


async def test_a_job_that_another_client_cancels_is_a_conflict_and_is_not_tried_again(
    client: AsyncOpenAI, fake_jobs: FakeJobsClient
) -> None:
    cancelled: list[str] = []

    async def cancel(job_id: str) -> None:
        cancelled.append(job_id)
        await fake_jobs.cancel(job_id)

    fake_jobs.on_submit = cancel
    with pytest.raises(openai.ConflictError) as caught:
        await client.with_options(max_retries=2).images.generate(prompt="x")
    assert caught.value.code == "cancelled"
    assert [caught.value.response.json()["job_id"]] == cancelled


@pytest.mark.parametrize("sync_wait_s", [0.05])
async def test_a_job_that_takes_too_long_goes_on_and_is_named(
    client: AsyncOpenAI, fake_jobs: FakeJobsClient, sync_wait_s: float
) -> None:
    with pytest.raises(openai.InternalServerError) as caught:
        await client.with_options(max_retries=2).images.generate(prompt="x")
    assert (caught.value.status_code, caught.value.code) == (504, "timeout")
    job_id = caught.value.response.json()["job_id"]
    assert job_id in caught.value.message
    job = fake_jobs.database.jobs.get(job_id)
    assert job is not None
    assert not job.is_terminal


async def test_a_client_that_leaves_cancels_its_job(
    client: AsyncOpenAI, fake_jobs: FakeJobsClient, submitted: asyncio.Queue[str]
) -> None:
    generating = asyncio.create_task(client.images.generate(prompt="x"))
    job_id = await submitted.get()
    generating.cancel()
    await asyncio.gather(generating, return_exceptions=True)
    async with asyncio.timeout(HANG_S):
        await fake_jobs.ended(job_id)
    job = fake_jobs.database.jobs.get(job_id)
    assert job is not None
    assert job.state == "cancelled"


async def test_without_a_valid_key_the_client_is_told_what_is_missing(
    client: AsyncOpenAI, keys: KeyStore
) -> None:
    keys.create("ann", ["create"])
    with pytest.raises(openai.AuthenticationError) as caught:
        await client.images.generate(prompt="x")
    assert (caught.value.code, caught.value.type) == ("unauthorized", "authentication_error")


async def test_a_key_that_may_only_look_is_denied(client: AsyncOpenAI, keys: KeyStore) -> None:
    reader = client.with_options(api_key=keys.create("ann", ["read"])[1])
    with pytest.raises(openai.PermissionDeniedError) as caught:
        await reader.images.generate(prompt="x")
    assert (caught.value.code, caught.value.type) == ("forbidden", "permission_error")
    assert [model.id async for model in reader.models.list()] == ["demo"]


async def test_a_key_that_asks_too_often_is_told_when_to_come_back(
    client: AsyncOpenAI, running: FakeJobsClient, keys: KeyStore
) -> None:
    _, token = keys.create("ann", ["create"], requests_per_minute=1)
    eager = client.with_options(api_key=token)
    await eager.images.generate(prompt="x")
    with pytest.raises(openai.RateLimitError) as caught:
        await eager.images.generate(prompt="x")
    assert (caught.value.code, caught.value.type) == ("rate_limited", "rate_limit_error")
    assert 0 < int(caught.value.response.headers["retry-after"]) <= 60


async def test_the_same_idempotency_key_gives_the_images_of_the_same_job(
    client: AsyncOpenAI, running: FakeJobsClient
) -> None:
    """OpenAI's client sends a header of the caller's again when it tries again by itself."""
    draw = partial(client.images.generate, extra_headers={"Idempotency-Key": "k"})
    first, again = await draw(prompt="x"), await draw(prompt="x")
    assert again.to_dict() == first.to_dict()
    with pytest.raises(openai.ConflictError) as caught:
        await draw(prompt="another")
    assert caught.value.code == "idempotency_mismatch"
    assert (await client.images.generate(prompt="x")).to_dict()["job_id"] != first.to_dict()[
        "job_id"
    ]


async def test_a_repeated_stream_shows_the_same_job_again(
    client: AsyncOpenAI, running: FakeJobsClient
) -> None:
    async def drawn() -> list[Any]:
        stream = await client.images.generate(
            prompt="x", stream=True, extra_headers={"Idempotency-Key": "k"}
        )
        return [event async for event in stream]

    first, again = await drawn(), await drawn()
    assert [event.to_dict() for event in again] == [event.to_dict() for event in first]
    running.database.images.delete(first[-1].to_dict()["image_id"])
    await running.blobs.delete(f"images/{first[-1].to_dict()['image_id']}.png")
    with pytest.raises(openai.APIError, match="was deleted"):
        await drawn()
