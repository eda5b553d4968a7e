"""Every error text is ours: no words of the libraries that found the fault."""

from __future__ import annotations

import json
from itertools import cycle
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from serve.validation_messages import describe
from tests.serve.attacker import ENDLESS, in_our_form, make_things, routes
from tests.serve.fake_jobs_client import FakeJobsClient
from tests.serve.gateway.openai.test_variations import forged

THEIR_WORDS = (
    "Input should",
    "String should",
    "valid string",
    "valid integer",
    "valid dictionary",
    "valid number",
    "valid boolean",
    "unable to parse",
    "Value error",
    "UploadFile",
    "<class",
    "dict",
    "Expecting",
    "Extra data",
    "delimiter",
    "Invalid",
    "pydantic",
    "boundary",
    "multipart",
    "codec",
    "pattern",
    "^[",
    "cannot identify",
    "PIL",
    "Traceback",
    "Error",
    "There was an error",
    "Not Found",
    "Unprocessable",
)
BAD_VALUES: list[Any] = [3, 1.5, -1, True, "x", "", "x" * 5000, [], [1], {}, {"a": 1}, None, "\x00"]
BAD_VALUES += [10**30, 1e300, "\ud800", "\u202e"]
BAD_BODIES = [
    b"{",
    b'{"a" 1}',
    b'{"a": 1,}',
    b"{'a': 1}",
    b'{"a": 1} x',
    b"[]",
    b"3",
    b'"x"',
    b"\xff\xfe",
    b'{"prompt": "\xff"}',
    b"[" * 20_000,
    b'{"seed": ' + b"9" * 10_000 + b"}",
    b"prompt=x",
    b"--x\r\nContent-Disposition: form-data\r\n\r\n",
]
OTHER_TYPES = [
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data",
    "multipart/form-data; boundary=x",
    "application/json; charset=utf-7",
]


def check(answer: httpx.Response, about: object) -> None:
    if answer.status_code < 400:
        return
    error = in_our_form(answer)
    assert answer.status_code < 500 or error["code"] == "timeout", (about, answer.text)
    text = error["message"].replace(json.dumps("x" * 64)[1:-1], "")
    for word in THEIR_WORDS:
        assert word not in text, (about, text)
    assert not text.endswith("."), (about, text)
    assert text.strip(), about


async def test_bad_bodies(
    app: FastAPI, client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    things = await make_things(client, fake_jobs, {})
    sent = [("application/json", body) for body in BAD_BODIES]
    sent += list(zip(cycle(OTHER_TYPES), BAD_BODIES, strict=False))
    for method, path in routes(app):
        if method in ("POST", "PUT", "PATCH"):
            for content_type, body in sent:
                headers = {"content-type": content_type}
                url = path.format(**things)
                answer = await client.request(method, url, content=body, headers=headers)
                check(answer, (method, path, content_type, body[:30]))


async def test_bad_values_in_bodies(
    app: FastAPI, client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    things = await make_things(client, fake_jobs, {})
    document = app.openapi()
    schemas = document["components"]["schemas"]
    targets = {
        ("POST", "/v1/jobs"): "JobBody",
        ("POST", "/v1/images/generations"): "ImagesBody",
        ("PATCH", "/v1/jobs/{job_id}"): "JobPatch",
        ("PUT", "/v1/preferences/{name}"): "PreferenceBody",
        ("POST", "/v1/images/{image_id}/share"): "ShareBody",
    }
    for (method, path), name in targets.items():
        for field in [*schemas[name]["properties"], "colour"]:
            for value in BAD_VALUES:
                base = {"prompt": "x"} if "prompt" in schemas[name]["properties"] else {}
                body = json.dumps(base | {field: value}).encode()
                headers = {"content-type": "application/json", "prefer": ""}
                if field in ("prompt", "stream") and path == "/v1/images/generations":
                    continue  # some of those are fine, and would wait for their pictures
                answer = await client.request(
                    method, path.format(**things), content=body, headers=headers
                )
                check(answer, (path, field, value))


@pytest.fixture
def sync_wait_s() -> float:
    return 0.01


async def test_bad_queries_headers_and_paths(
    app: FastAPI, client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    things = await make_things(client, fake_jobs, {})
    described = app.openapi()["paths"]
    values = ("", "x", "-1", "9" * 5000, "\u202e")
    asked = set()
    for method, path in (route for route in routes(app) if route not in ENDLESS):
        if method not in ("GET", "DELETE"):
            continue
        known = described.get(path, {}).get(method.lower(), {}).get("parameters", [])
        for name in ["colour", *(one["name"] for one in known if one["in"] == "query")]:
            asked.add(name)
            for value in values:
                answer = await client.request(method, path.format(**things), params={name: value})
                if answer.status_code != 503:  # /readyz is not asked about here
                    check(answer, (method, path, name, value))
        for bad in ("x" * 70, "%00", "..", "a b", "\u2603"):
            unknown = path.format(**dict.fromkeys(things, bad))
            if unknown.endswith("/../events"):
                continue  # the client asks for /v1/events instead, which does not end
            check(await client.request(method, unknown), (method, unknown))
    assert {"colour", "cursor", "limit", "q", "state", "format"} <= asked
    for name in ("last-event-id", "prefer", "idempotency-key", "if-none-match"):
        for value in ("", "x", "-1", "\xff", "x" * 5000):
            headers = {name.encode(): value.encode("latin-1")}
            for path in ("/v1/jobs/{job_id}/events", "/v1/images/{image_id}"):
                check(await client.get(path.format(**things), headers=headers), (name, value))
            answer = await client.post("/v1/jobs", json={"prompt": "x"}, headers=headers)
            check(answer, (name, value))


@pytest.mark.parametrize(
    "form",
    [
        {"data": {"image": "text"}},
        {"data": {"n": "1"}},
        {"files": {"image": ("a.png", b"", "image/png")}},
        {"files": {"image": ("a.png", b"GIF89a", "image/png")}},
        {"files": {"image": ("a.png", b"\x89PNG\r\n\x1a\n" + b"x" * 40, "image/png")}},
        {"files": {"image": ("a.png", forged("L"), "image/png")}, "data": {"n": "many"}},
        {"files": {"image": ("a.png", forged("L"), "image/png")}, "data": {"decoder_seed": "1.5"}},
        {"files": {"image": ("a.png", forged("L"), "image/png")}, "data": {"colour": "red"}},
        {"files": {"image": ("a.png", forged("L"), "image/png")}, "data": {"size": "\u202e"}},
        {"files": [("image", ("a.png", forged("L"))), ("image", ("b.png", forged("L")))]},
        {"files": {f"f{i}": ("a", b"x") for i in range(1500)}},
        {"data": {f"f{i}": "x" for i in range(1500)}, "files": {"image": ("a", b"x")}},
    ],
)
async def test_bad_forms(client: httpx.AsyncClient, form: dict[str, Any]) -> None:
    answer = await client.post("/v1/images/variations", **form)
    assert 400 <= answer.status_code < 500
    check(answer, form)


@pytest.mark.parametrize(
    ("problem", "sentence"),
    [
        ({"type": "int_from_float"}, "n must be a whole number"),
        ({"type": "finite_number"}, "n must be a number"),
        ({"type": "string_unicode"}, "n must be text"),
        ({"type": "greater_than_equal", "ctx": {"ge": 1}}, "n must be at least 1"),
        ({"type": "value_error", "msg": "Value error, must be odd"}, "n must be odd"),
        ({"type": "anything_new", "msg": "theirs"}, "n has a value that it cannot have"),
    ],
)
def test_each_kind_of_fault_has_a_sentence(problem: dict[str, Any], sentence: str) -> None:
    assert describe("n", problem) == sentence
