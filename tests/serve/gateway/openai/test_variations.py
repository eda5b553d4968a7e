"""OpenAI's own client sends a picture of ours back and gets other details; hostile files do not."""

from __future__ import annotations

import asyncio
import base64
import json
import struct
import zlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI

from cascade_core.errors import CascadeError
from cascade_core.handoff import ModelRef
from serve.gateway.middleware.requests import UPLOAD_LIMITS
from tests.limits import HANG_S
from tests.serve.fake_jobs_client import FakeJobsClient

pytestmark = pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")
PATH = "/v1/images/variations"
LIMIT_BYTES = UPLOAD_LIMITS[PATH].size_bytes
SIGNATURE = b"\x89PNG\r\n\x1a\n"


def chunk(name: bytes, data: bytes = b"") -> bytes:
    checksum = zlib.crc32(name + data)
    return struct.pack(">I4s", len(data), name) + data + checksum.to_bytes(4, "big")


def forged(latent_id: Any, *, more: bytes = b"") -> bytes:
    """A well-formed PNG that claims to have been made from this latent."""
    info = json.dumps({"v": 1, "latent_id": latent_id}).encode()
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 256, 256, 8, 2, 0, 0, 0))
    return SIGNATURE + header + chunk(b"tEXt", b"cascade\0" + info) + more + chunk(b"IEND")


async def generated(client: AsyncOpenAI, **options: Any) -> tuple[bytes, dict[str, Any]]:
    """Return an image of ours: its file and what the answer says about it."""
    answer = await client.images.generate(prompt="x", **options)
    [image] = answer.model_dump()["data"]
    return base64.b64decode(image["b64_json"]), image


async def vary(client: AsyncOpenAI, file: bytes, **options: Any) -> dict[str, Any]:
    upload = ("image.png", file, "image/png")
    answer = await client.images.create_variation(image=upload, **options)
    return answer.model_dump()


async def test_a_picture_of_ours_becomes_variations_of_itself(
    openai_client: AsyncOpenAI, live_client: httpx.AsyncClient, running: FakeJobsClient
) -> None:
    file, image = await generated(openai_client, user="ann", extra_body={"seed": 5})
    extra = {"decoder_steps": 4, "decoder_seed": 9}
    answer = await vary(openai_client, file, n=2, model="demo", user="ann", extra_body=extra)
    assert [item["latent_id"] for item in answer["data"]] == [image["latent_id"]] * 2
    assert [item["decoder_seed"] for item in answer["data"]] == [9, 10]
    job = running.database.jobs.get(answer["job_id"])
    assert job is not None
    assert (job.request.kind, job.request.seed, job.request.decoder_steps) == ("vary_details", 5, 4)
    assert job.owner.user == "ann"
    for item in answer["data"]:
        assert (await live_client.get(item["url"])).headers["content-type"] == "image/png"


async def test_variations_come_as_base64_if_asked_for_and_can_be_varied_again(
    openai_client: AsyncOpenAI, running: FakeJobsClient
) -> None:
    file, image = await generated(openai_client)
    answer = await vary(openai_client, file, response_format="b64_json", size="256x384")
    again = await vary(openai_client, base64.b64decode(answer["data"][0]["b64_json"]), size="auto")
    assert again["data"][0]["latent_id"] == image["latent_id"]


async def test_another_size_than_the_pictures_is_a_bad_request(
    openai_client: AsyncOpenAI, running: FakeJobsClient
) -> None:
    file, _ = await generated(openai_client)
    with pytest.raises(openai.BadRequestError, match="256x384") as caught:
        await vary(openai_client, file, size="512x512")
    assert caught.value.param == "size"


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"n": 9}, "n"),
        ({"extra_body": {"n": "many"}}, "n"),
        ({"response_format": "file"}, "response_format"),
        ({"extra_body": {"decoder_steps": 0}}, "decoder_steps"),
        ({"extra_body": {"prompt": "x"}}, "prompt"),
        ({"extra_body": {"image_url": "http://169.254.169.254/"}}, "image_url"),
        ({"user": "a\x07"}, "user"),
    ],
)
async def test_a_bad_field_is_a_bad_request_that_names_it(
    openai_client: AsyncOpenAI, running: FakeJobsClient, options: dict[str, Any], field: str
) -> None:
    file, _ = await generated(openai_client)
    with pytest.raises(openai.BadRequestError) as caught:
        await vary(openai_client, file, **options)
    assert caught.value.param == field


@pytest.mark.parametrize(
    "file",
    [
        b"",
        b"no picture",
        b"http://169.254.169.254/latest/meta-data",
        b"GIF89a" + bytes(100),
        b"\xff\xd8\xff\xe0" + bytes(100),
        b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>",
        forged("LAT")[:-20],
        forged("LAT").replace(b"LAT", b"BAT"),
        forged("LAT") + b"PK\x03\x04",
        b"%PDF-1.7 " + forged("LAT"),
        forged(None),
        forged(3),
        forged(["LAT"]),
        SIGNATURE + chunk(b"IHDR", bytes(13)) + chunk(b"IEND"),
    ],
)
async def test_what_is_no_picture_of_ours_is_a_bad_request(
    openai_client: AsyncOpenAI, file: bytes
) -> None:
    with pytest.raises(openai.BadRequestError, match="PNG") as caught:
        await vary(openai_client, file)
    assert caught.value.param == "image"


@pytest.mark.parametrize("latent_id", ["nope", "", "../../etc/passwd", "\x00", "\ud800", "x" * 65])
async def test_a_picture_whose_latent_is_not_there_is_not_found(
    openai_client: AsyncOpenAI, latent_id: str
) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        await vary(openai_client, forged(latent_id))
    assert caught.value.param == "image"


async def test_a_bomb_is_not_unpacked(openai_client: AsyncOpenAI, running: FakeJobsClient) -> None:
    """Reading the pixels of this file would take 20 GB."""
    _, image = await generated(openai_client)
    pixels = chunk(b"IDAT", zlib.compress(bytes(20_000_000), 9))
    bomb = chunk(b"IHDR", struct.pack(">IIBBBBB", 80_000, 80_000, 8, 2, 0, 0, 0))
    file = forged(image["latent_id"], more=pixels)
    file = file[:8] + bomb + file[8 + len(bomb) :]
    answer = await vary(openai_client, file)
    assert answer["data"][0]["latent_id"] == image["latent_id"]


async def test_a_latent_of_another_model_is_refused(
    openai_client: AsyncOpenAI, fake_jobs: FakeJobsClient
) -> None:
    async def make(job_id: str) -> None:
        await fake_jobs.make_image(job_id, model=ModelRef("demo", "r0", "f0"))
        fake_jobs.finish(job_id, "succeeded")

    fake_jobs.on_submit = make
    file, _ = await generated(openai_client)
    with pytest.raises(openai.UnprocessableEntityError) as caught:
        await vary(openai_client, file)
    assert caught.value.code == "model_mismatch"


async def test_a_deleted_picture_cannot_be_varied(
    openai_client: AsyncOpenAI, live_client: httpx.AsyncClient, running: FakeJobsClient
) -> None:
    file, image = await generated(openai_client)
    await live_client.delete(f"/v1/images/{image['image_id']}")
    with pytest.raises(openai.APIStatusError) as caught:
        await vary(openai_client, file)
    assert (caught.value.status_code, caught.value.code) == (410, "gone")


async def test_another_callers_picture_is_as_unknown_as_a_forged_one(
    openai_client: AsyncOpenAI, running: FakeJobsClient
) -> None:
    store = running.database.keys
    ann, bob = (store.create(name, ["create", "read"])[1] for name in ("ann", "bob"))
    file, _ = await generated(openai_client.with_options(api_key=ann))
    answers: list[CascadeError | Any] = []
    for picture in (file, forged("LATnope")):
        with pytest.raises(openai.NotFoundError) as caught:
            await vary(openai_client.with_options(api_key=bob), picture)
        answers.append(caught.value.body)
    for answer in answers:
        answer.pop("request_id")
    assert answers[0] == answers[1]
    assert (await vary(openai_client.with_options(api_key=ann), file))["data"]


async def test_an_upload_over_the_limit_is_413_before_it_is_read(
    client: httpx.AsyncClient,
) -> None:
    async def never_read() -> AsyncIterator[bytes]:
        pytest.fail("the body was read")
        yield b""

    headers = {
        "content-type": "multipart/form-data; boundary=x",
        "content-length": str(LIMIT_BYTES + 1),
    }
    answer = await client.post(PATH, content=never_read(), headers=headers)
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "body_too_large"


async def test_an_upload_that_does_not_say_its_length_is_bounded_too(
    client: httpx.AsyncClient,
) -> None:
    async def endless() -> AsyncIterator[bytes]:
        yield b'--x\r\ncontent-disposition: form-data; name="image"; filename="a.png"\r\n\r\n'
        while True:
            yield bytes(1024 * 1024)

    headers = {"content-type": "multipart/form-data; boundary=x"}
    async with asyncio.timeout(HANG_S):
        answer = await client.post(PATH, content=endless(), headers=headers)
    assert answer.status_code == 413


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b'{"image": "http://169.254.169.254/"}'),
        ("text/plain", b"x"),
        ("multipart/form-data", b"--x--"),
        ("multipart/form-data; boundary=x", b"no form"),
        ("multipart/form-data; boundary=x", b"--x\r\n\r\n"),
        ("multipart/form-data; boundary=x", b"--x--\r\n"),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\ncontent-disposition: form-data; name="image"\r\n\r\nno file\r\n--x--\r\n',
        ),
        ("application/x-www-form-urlencoded", b"image=http%3A%2F%2F169.254.169.254%2F"),
    ],
)
async def test_what_is_no_upload_is_a_bad_request(
    client: httpx.AsyncClient, content_type: str, body: bytes
) -> None:
    answer = await client.post(PATH, content=body, headers={"content-type": content_type})
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["code"] == "invalid_value"
