"""OpenAI's own client reads an image as it comes: partial images, then the finished one."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import Callable
from typing import Any

import httpx
import httpx_sse
import openai
import pytest
from openai import AsyncOpenAI
from openai.types import ImageGenCompletedEvent, ImageGenPartialImageEvent
from PIL import Image

from cascade_core.errors import NonFiniteLatent
from cascade_core.families.stable_cascade import STABLE_CASCADE
from cascade_core.request import GenerationRequest
from serve.gateway.openai.stream import partial_previews
from tests.limits import HANG_S
from tests.serve.checkers import Answering
from tests.serve.fake_jobs_client import FakeJobsClient

C_MIDDLE, C_LAST, B_MIDDLE = ("c", 6), ("c", 9), ("b", 3)
"""Of the 12 and 6 steps that the tests' model takes, with three previews a stage at most."""


def opened(b64_json: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(b64_json)))


async def draw(fake_jobs: FakeJobsClient, job_id: str) -> None:
    """Do a job with all its previews."""
    job = fake_jobs.database.jobs.get(job_id)
    assert job is not None
    for index in range(job.request.n):
        for stage, step in (("c", 3), C_MIDDLE, C_LAST, C_LAST, B_MIDDLE):
            await fake_jobs.show_preview(job_id, stage, step, index)
        await fake_jobs.make_image(job_id, index)
    fake_jobs.finish(job_id, "succeeded")


@pytest.fixture
def drawing(fake_jobs: FakeJobsClient) -> FakeJobsClient:
    """The service makes what is asked for, and shows it on the way."""

    async def on_submit(job_id: str) -> None:
        await draw(fake_jobs, job_id)

    fake_jobs.on_submit = on_submit
    return fake_jobs


async def stream(client: AsyncOpenAI, **options: Any) -> list[Any]:
    events = await client.images.generate(prompt="x", stream=True, **options)
    return [event async for event in events]


@pytest.mark.parametrize("partial_images", [0, 1, 2, 3])
async def test_partial_images_come_before_the_finished_one(
    openai_client: AsyncOpenAI, drawing: FakeJobsClient, partial_images: int
) -> None:
    *partial, completed = await stream(openai_client, partial_images=partial_images)
    assert [event.partial_image_index for event in partial] == list(range(partial_images))
    for event in partial:
        assert isinstance(event, ImageGenPartialImageEvent)
        assert opened(event.b64_json).size == (24, 24)
    assert isinstance(completed, ImageGenCompletedEvent)
    assert opened(completed.b64_json).size == (256, 384)


async def test_every_event_has_the_fields_of_openais_types_with_their_values(
    openai_client: AsyncOpenAI, drawing: FakeJobsClient
) -> None:
    events = await stream(openai_client, partial_images=1, output_format="webp", size="256x256")
    for event, kind in zip(
        events, (ImageGenPartialImageEvent, ImageGenCompletedEvent), strict=True
    ):
        body = event.to_dict()
        kind.model_validate(body, strict=True)
        assert kind.model_fields.keys() - body.keys() <= {"safety_identifier"}
        assert (body["size"], body["output_format"]) == ("256x256", "webp")
        assert (body["quality"], body["background"]) == ("auto", "opaque")
        assert opened(body["b64_json"]).format == "WEBP"
    completed = events[-1].to_dict()
    assert completed["usage"]["total_tokens"] == 0
    job = drawing.database.jobs.get(completed["job_id"])
    assert job is not None
    assert completed["image_id"] == job.images[0].id
    assert completed["latent_id"] == job.images[0].latent_id
    assert (completed["seed"], completed["decoder_seed"]) == (job.request.seed,) * 2


async def test_several_images_come_each_with_its_own_partial_images(
    openai_client: AsyncOpenAI, drawing: FakeJobsClient
) -> None:
    events = [event.to_dict() for event in await stream(openai_client, n=2, partial_images=2)]
    shown = [(event["image_index"], event.get("partial_image_index")) for event in events]
    assert shown == [(0, 0), (0, 1), (0, None), (1, 0), (1, 1), (1, None)]


async def test_without_partial_images_asked_for_only_the_finished_one_comes(
    openai_client: AsyncOpenAI, drawing: FakeJobsClient
) -> None:
    [completed] = await stream(openai_client)
    assert completed.type == "image_generation.completed"


async def test_partial_images_come_while_the_job_runs(
    openai_client: AsyncOpenAI, fake_jobs: FakeJobsClient, submitted: asyncio.Queue[str]
) -> None:
    events = await openai_client.images.generate(prompt="x", stream=True, partial_images=1)
    job_id = await submitted.get()
    await fake_jobs.show_preview(job_id, *C_LAST)
    first = await anext(aiter(events))
    assert first.type == "image_generation.partial_image"
    await fake_jobs.run(job_id)
    assert [event.type async for event in events] == ["image_generation.completed"]


@pytest.mark.parametrize(
    ("options", "is_watched"),
    [
        ({}, False),
        ({"partial_images": 2}, False),
        ({"stream": True, "partial_images": 0}, False),
        ({"stream": True, "partial_images": 2}, True),
    ],
)
async def test_previews_are_drawn_for_a_stream_of_partial_images_alone(
    live_client: httpx.AsyncClient,
    drawing: FakeJobsClient,
    options: dict[str, Any],
    is_watched: bool,
) -> None:
    path, body = "/v1/images/generations", {"prompt": "x"} | options
    answer = await live_client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    assert bool(drawing.unwatched) is not is_watched


async def test_the_lines_are_those_that_openai_sends(
    live_client: httpx.AsyncClient, drawing: FakeJobsClient
) -> None:
    body = {"prompt": "x", "stream": True, "partial_images": 1}
    path = "/v1/images/generations"
    async with httpx_sse.aconnect_sse(live_client, "POST", path, json=body) as source:
        assert source.response.headers["content-type"].startswith("text/event-stream")
        location = source.response.headers["location"]
        events = [event async for event in source.aiter_sse() if event.data]
    assert [event.event for event in events] == [
        "image_generation.partial_image",
        "image_generation.completed",
    ]
    assert all(json.loads(event.data)["type"] == event.event for event in events)
    assert (await live_client.get(location)).json()["state"] == "succeeded"


async def test_a_job_that_fails_ends_the_stream_with_its_error(
    openai_client: AsyncOpenAI, fake_jobs: FakeJobsClient
) -> None:
    async def fail(job_id: str) -> None:
        fake_jobs.finish(job_id, "failed", NonFiniteLatent("Stage C answered NaN"))

    fake_jobs.on_submit = fail
    with pytest.raises(openai.APIError, match="Stage C answered NaN") as caught:
        await stream(openai_client)
    assert (caught.value.code, caught.value.type) == ("non_finite_latent", "server_error")


async def test_a_job_that_is_cancelled_ends_the_stream_with_that(
    openai_client: AsyncOpenAI, fake_jobs: FakeJobsClient
) -> None:
    async def cancel(job_id: str) -> None:
        await fake_jobs.cancel(job_id)

    fake_jobs.on_submit = cancel
    with pytest.raises(openai.APIError) as caught:
        await stream(openai_client)
    assert caught.value.code == "cancelled"


async def test_a_bad_request_is_an_error_before_the_stream_begins(
    openai_client: AsyncOpenAI,
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await openai_client.images.generate(prompt="x", stream=True, n=9)
    assert caught.value.param == "n"


async def test_a_client_that_leaves_the_stream_cancels_its_job(
    openai_client: AsyncOpenAI, fake_jobs: FakeJobsClient, submitted: asyncio.Queue[str]
) -> None:
    events = await openai_client.images.generate(prompt="x", stream=True)
    job_id = await submitted.get()
    await events.close()
    async with asyncio.timeout(HANG_S):
        await fake_jobs.ended(job_id)
    job = fake_jobs.database.jobs.get(job_id)
    assert job is not None
    assert job.state == "cancelled"


@pytest.mark.parametrize(
    ("partial_images", "previews", "expected"),
    [
        (3, 3, {C_MIDDLE, C_LAST, B_MIDDLE}),
        (2, 3, {C_LAST, B_MIDDLE}),
        (1, 3, {C_LAST}),
        (0, 3, set()),
        (3, 2, {("c", 4), ("c", 8), B_MIDDLE}),
        (3, 1, {("c", 6), B_MIDDLE}),
        (3, 0, set()),
    ],
)
def test_the_previews_worth_most_are_shown(
    make_request: Callable[..., GenerationRequest],
    partial_images: int,
    previews: int,
    expected: set[tuple[str, int]],
) -> None:
    request = make_request(steps=12, decoder_steps=6)
    assert partial_previews(request, partial_images, previews, STABLE_CASCADE) == expected


def test_too_few_steps_for_previews_show_none(
    make_request: Callable[..., GenerationRequest],
) -> None:
    assert partial_previews(make_request(steps=1, decoder_steps=1), 3, 3, STABLE_CASCADE) == set()


def test_where_checkers_look_the_composition_is_shown_once_and_last(
    make_request: Callable[..., GenerationRequest],
) -> None:
    request = make_request(steps=12, decoder_steps=6)
    assert partial_previews(request, 3, 3, STABLE_CASCADE, is_checked=True) == {("c", 12), B_MIDDLE}
    assert partial_previews(request, 3, 0, STABLE_CASCADE, is_checked=True) == set()


@pytest.mark.parametrize("checkers", [[Answering()]])
async def test_a_composition_that_has_passed_the_checkers_is_a_partial_image(
    openai_client: AsyncOpenAI, fake_jobs: FakeJobsClient
) -> None:
    async def draw_checked(job_id: str) -> None:
        await fake_jobs.show_preview(job_id, "c", 12)
        await fake_jobs.make_image(job_id)
        fake_jobs.finish(job_id, "succeeded")

    fake_jobs.on_submit = draw_checked
    partial, completed = await stream(openai_client, partial_images=1)
    assert isinstance(partial, ImageGenPartialImageEvent)
    assert isinstance(completed, ImageGenCompletedEvent)
