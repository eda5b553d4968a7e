"""What common clients send as a matter of habit: fixed models, empty fields, no bodies, edits."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import httpx
import openai
import pytest
from fastapi import FastAPI
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from openai import AsyncOpenAI

from cascade_core.errors import SettingsInvalid
from cascade_core.printable import is_printable
from serve.gateway.dependencies import Services
from serve.served_models import Models
from serve.settings import load_settings
from tests.serve.attacker import in_our_form
from tests.serve.fake_jobs_client import FakeJobsClient
from tests.serve.gateway.openai.test_variations import forged, generated, vary

PATH = "/v1/images/generations"


def configure(services: Services, **changes: Any) -> None:
    settings = services.settings.model_copy(update=changes)
    object.__setattr__(services, "settings", settings)


async def test_a_model_that_is_not_here_is_refused_with_the_name_of_the_one_that_is(
    openai_client: AsyncOpenAI,
) -> None:
    with pytest.raises(openai.NotFoundError, match="'demo'") as caught:
        await openai_client.images.generate(prompt="x", model="dall-e-3")
    assert caught.value.param == "model"


async def test_clients_whose_model_is_fixed_are_served_by_aliases(
    openai_client: AsyncOpenAI, running: FakeJobsClient, services: Services
) -> None:
    configure(services, model_aliases="dall-e-3,gpt-image-1")
    services.models = Models(list(services.models), services.settings.alias_names)
    for model in ("dall-e-3", "gpt-image-1", "demo"):
        answer = await openai_client.images.generate(prompt="x", model=model)
        assert len(answer.data or ()) == 1
        assert (await openai_client.models.retrieve(model)).id == "demo"
    with pytest.raises(openai.NotFoundError):
        await openai_client.images.generate(prompt="x", model="dall-e-2")
    assert [model.id async for model in openai_client.models.list()] == ["demo"]


@pytest.mark.parametrize("text", ["a,,b", "a b", "-", "a\nb", ","])
def test_aliases_that_are_no_names_are_refused_at_start(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CASCADE_MODEL_ALIASES", text)
    with pytest.raises(SettingsInvalid, match="CASCADE_MODEL_ALIASES"):
        load_settings()


def test_aliases_may_have_spaces_between_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CASCADE_MODEL_ALIASES", " dall-e-3, gpt-image-1 ")
    assert load_settings().alias_names == ["dall-e-3", "gpt-image-1"]
    monkeypatch.delenv("CASCADE_MODEL_ALIASES")
    assert load_settings().alias_names == []


@pytest.mark.parametrize("default", ["", "b64_json", "url"])
@pytest.mark.parametrize("said", [{}, {"response_format": "b64_json"}, {"response_format": "url"}])
async def test_what_clients_get_that_cannot_say_how_is_a_setting(
    openai_client: AsyncOpenAI,
    running: FakeJobsClient,
    services: Services,
    default: str,
    said: dict[str, Any],
) -> None:
    configure(services, response_format=default)
    answer = await openai_client.images.generate(prompt="x", **said)
    assert answer.data is not None
    wanted = said.get("response_format") or default or "b64_json"
    assert (answer.data[0].url is not None) == (wanted == "url")
    assert (answer.data[0].b64_json is not None) == (wanted == "b64_json")
    file, _ = await generated(openai_client, response_format="b64_json")
    varied = (await vary(openai_client, file, **said))["data"][0]
    wanted = said.get("response_format") or default or "url"
    assert (varied["url"] is not None) == (wanted == "url")


@pytest.mark.parametrize("options", [{"stream": True}, {"output_compression": 50}])
async def test_a_default_of_addresses_gives_way_to_what_only_bytes_can_have(
    live_client: httpx.AsyncClient,
    running: FakeJobsClient,
    services: Services,
    options: dict[str, Any],
) -> None:
    configure(services, response_format="url")
    body = {"prompt": "x", "output_format": "webp"} | options
    answer = await live_client.post(PATH, json=body)
    assert answer.status_code == 200
    assert "b64_json" in answer.text


OPTIONAL = [
    "model",
    "n",
    "size",
    "quality",
    "style",
    "background",
    "moderation",
    "response_format",
    "output_format",
    "output_compression",
    "stream",
    "partial_images",
    "user",
    "safety_identifier",
    "negative_prompt",
    "seed",
    "input_fidelity",
    "mask",
]


@pytest.mark.parametrize("empty", ["", None])
async def test_fields_that_are_sent_empty_count_as_absent(
    client: httpx.AsyncClient, running: FakeJobsClient, empty: str | None
) -> None:
    body = dict.fromkeys(OPTIONAL, empty) | {"prompt": "x"}
    answer = await client.post(PATH, json=body)
    assert answer.status_code == 200, answer.text
    assert answer.json()["warnings"] == []
    job = running.database.jobs.get(answer.json()["job_id"])
    assert job is not None
    assert (job.request.n, job.owner.user, job.request.negative_prompt) == (1, None, "")


@pytest.mark.parametrize("empty", ["", None])
def test_the_document_says_that_fields_may_be_empty(app: FastAPI, empty: str | None) -> None:
    schemas = app.openapi()["components"]["schemas"]
    document = {"$ref": "#/components/schemas/ImagesBody", "components": {"schemas": schemas}}
    is_valid = Draft202012Validator(document).is_valid
    assert is_valid({"prompt": "x", **dict.fromkeys(OPTIONAL, empty)})
    for body in ({}, {"prompt": None}, {"prompt": "x", "n": "1"}, {"prompt": "x", "mask": "m"}):
        assert not is_valid(body)


async def test_a_form_with_empty_fields_counts_them_as_absent(
    client: httpx.AsyncClient, running: FakeJobsClient
) -> None:
    job_id = (await client.post("/v1/jobs", json={"prompt": "x"})).json()["id"]
    latent_id = running.images(job_id)[0].latent_id
    names = ["model", "n", "size", "response_format", "user", "decoder_seed", "mask"]
    answer = await client.post(
        "/v1/images/variations",
        files={"image": ("a.png", forged(latent_id), "image/png")},
        data=dict.fromkeys(names, ""),
    )
    assert answer.status_code == 200, answer.text


async def test_what_must_be_there_is_still_missed(client: httpx.AsyncClient) -> None:
    for body in ({}, {"prompt": None}, {"prompt": None, "n": ""}):
        answer = await client.post(PATH, json=body)
        assert (answer.status_code, in_our_form(answer)["field"]) == (400, "prompt"), body


CONTENT_TYPES = [
    None,
    "application/json",
    "application/x-www-form-urlencoded",
    "multipart/form-data",
    "multipart/form-data; boundary=x",
    "text/plain",
    "nonsense",
    "",
]


@pytest.mark.parametrize("content_type", CONTENT_TYPES)
@pytest.mark.parametrize("body", [None, b""])
async def test_where_nothing_need_be_said_no_body_is_needed(
    client: httpx.AsyncClient, running: FakeJobsClient, content_type: str | None, body: bytes | None
) -> None:
    job = (await client.post("/v1/jobs", json={"prompt": "x"})).json()
    image_id = job["images"][0]["id"]
    headers = {} if content_type is None else {"content-type": content_type}
    for method, path in (
        ("POST", f"/v1/images/{image_id}/share"),
        ("PATCH", f"/v1/jobs/{job['id']}"),
        ("GET", f"/v1/jobs/{job['id']}"),
        ("DELETE", f"/v1/jobs/{job['id']}"),
        ("DELETE", f"/v1/images/{image_id}"),
        ("DELETE", "/v1/preferences/a"),
    ):
        answer = await client.request(method, path, content=body, headers=headers)
        assert answer.is_success, (method, path, answer.text)


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_a_body_where_none_is_asked_for_does_no_harm(
    client: httpx.AsyncClient, running: FakeJobsClient, method: str
) -> None:
    job_id = (await client.post("/v1/jobs", json={"prompt": "x"})).json()["id"]
    for body in (b"{}", b"null", b"[", b"x" * 1000):
        answer = await client.request(method, f"/v1/jobs/{job_id}", content=body)
        assert answer.status_code == 200


@pytest.mark.parametrize("size_bytes", [100, 200_000])
async def test_openais_client_reads_that_pictures_are_not_edited_here(
    openai_client: AsyncOpenAI, size_bytes: int
) -> None:
    upload = ("a.png", b"x" * size_bytes, "image/png")
    with pytest.raises(openai.NotFoundError, match="does not edit pictures") as caught:
        await openai_client.images.edit(image=[upload, upload], mask=upload, prompt="x")
    assert (caught.value.code, caught.value.type) == ("not_found", "invalid_request_error")


async def test_without_keys_a_picture_for_no_user_is_varied_for_any_user(
    openai_client: AsyncOpenAI, running: FakeJobsClient
) -> None:
    """OpenAI's clients send a `user` along whatever the picture was made for."""
    file, image = await generated(openai_client)
    varied = await vary(openai_client, file, user="bob")
    assert varied["data"][0]["latent_id"] == image["latent_id"]
    anns, _ = await generated(openai_client, user="ann")
    with pytest.raises(openai.NotFoundError, match="another API key or user"):
        await vary(openai_client, anns, user="bob")


SCRIPTS = {
    "emoji family": "\U0001f469\u200d\U0001f4bb painting",
    "flag of England": "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
    "red heart": "\u2764\ufe0f",
    "Persian": "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
    "Sinhala": "\u0dc1\u0dca\u200d\u0dbb\u0dd3",
    "Hebrew with marks": "\u05d0\u200fabc\u200e",
    "soft hyphen": "Donau\u00addampf",
    "lines": "a\n\tb\r\nc",
}


@pytest.mark.parametrize("name", SCRIPTS)
async def test_characters_that_scripts_and_emoji_need_reach_the_model(
    client: httpx.AsyncClient, running: FakeJobsClient, name: str
) -> None:
    text = SCRIPTS[name]
    for path in ("/v1/jobs", PATH):
        answer = await client.post(path, json={"prompt": text, "negative_prompt": text})
        assert answer.is_success, answer.text
        job = running.database.jobs.page()[0][0]
        assert (job.request.prompt, job.request.negative_prompt) == (text, text)


CONTROLS = [
    code for code in itertools.chain(range(0x20), range(0x7F, 0xA0)) if chr(code) not in "\t\n\r"
]


@pytest.mark.parametrize("path", ["/v1/jobs", PATH])
@pytest.mark.parametrize("field", ["prompt", "negative_prompt"])
async def test_control_characters_are_refused_in_what_is_sent_now(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, path: str, field: str
) -> None:
    for code in CONTROLS:
        body = {"prompt": "x"} | {field: f"a{chr(code)}b"}
        answer = await client.post(path, json=body)
        error = in_our_form(answer)
        assert (answer.status_code, error["field"]) == (400, field), hex(code)
        assert "control characters" in error["message"] or "NUL" in error["message"]
    assert fake_jobs.database.jobs.page()[0] == []


def test_a_job_from_before_that_rule_can_still_be_read(
    make_request: Callable[..., Any],
) -> None:
    request = make_request(prompt="a\x1bb")
    assert type(request).from_stored(request.to_dict()) == request


@pytest.mark.parametrize("user", ["\u0645\u06cc\u200c\u062e", "\U0001f469\u200d\U0001f4bb"])
async def test_names_may_have_the_joiners_of_scripts_and_emoji(
    client: httpx.AsyncClient, running: FakeJobsClient, user: str
) -> None:
    job = (await client.post("/v1/jobs", json={"prompt": "x", "user": user})).json()
    listed = (await client.get("/v1/jobs", params={"user": user})).json()["jobs"]
    assert [item["id"] for item in listed] == [job["id"]]
    own = await client.get(f"/v1/jobs/{job['id']}", params={"user": user})
    assert own.status_code == 200


@pytest.mark.parametrize("text", ["\u200d", "a\u202eb", "a\nb", "\u2066a", "a\x00"])
def test_names_are_one_line_that_can_be_seen(text: str) -> None:
    assert not is_printable(text)
