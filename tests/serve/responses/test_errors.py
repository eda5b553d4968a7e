from __future__ import annotations

import logging
from typing import Any

import httpx
import pytest

from cascade_core.errors import Internal, NonFiniteLatent, NotReady, all_errors
from serve.gateway import readiness
from serve.gateway.middleware.requests import JOB_LIMIT, JSON_LIMIT, BodyLimit
from serve.responses.errors import STATUS, error_body
from serve.settings import Settings
from serve.telemetry.log import configure_logging
from tests.serve.fake_jobs_client import FakeJobsClient

pytestmark = pytest.mark.usefixtures("restored_loggers")


def error_of(answer: httpx.Response) -> dict[str, Any]:
    error: dict[str, Any] = answer.json()["error"]
    assert error["request_id"] == answer.headers["x-request-id"]
    assert error.keys() - {"field"} == {"code", "message", "type", "param", "request_id"}
    assert error["param"] == error.get("field")
    is_ours = answer.status_code >= 500
    assert error["type"] == ("server_error" if is_ours else "invalid_request_error")
    return error


async def post(client: httpx.AsyncClient, **changes: Any) -> httpx.Response:
    return await client.post("/v1/jobs", json={"prompt": "x"} | changes)


def test_every_error_has_a_status() -> None:
    assert STATUS.keys() == all_errors().keys()


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nope", 404, "not_found"),
        ("GET", "/v1/jobs/../../etc/passwd", 404, "not_found"),
        ("PATCH", "/v1/jobs", 405, "method_not_allowed"),
        ("POST", "/v1/models", 405, "method_not_allowed"),
    ],
)
async def test_wrong_addresses_and_methods_answer_in_json(
    client: httpx.AsyncClient, method: str, path: str, status: int, code: str
) -> None:
    answer = await client.request(method, path)
    assert answer.status_code == status
    assert error_of(answer)["code"] == code


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"text"',
        b"null",
        b"\xff\xfe",
        b'{"prompt": "x"}{',
        b"[" * 60_000,
        b'{"client_state": ' + b'{"a":' * 10_000 + b"1" + b"}" * 10_001,
        b'{"prompt": "x", "seed": ' + b"9" * 10_000 + b"}",
    ],
)
async def test_a_body_that_is_no_json_object_is_400(client: httpx.AsyncClient, body: bytes) -> None:
    headers = {"content-type": "application/json"}
    answer = await client.post("/v1/jobs", content=body, headers=headers)
    assert answer.status_code == 400
    assert error_of(answer)["code"] == "invalid_value"


async def test_a_body_that_is_not_sent_as_json_is_400(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/jobs", data={"prompt": "x"})
    assert answer.status_code == 400
    assert "application/json" in error_of(answer)["message"]


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"prompt": None}, "prompt", "missing"),
        ({"prompt": 3}, "prompt", "must be text"),
        ({"prompt": "x" * 2001}, "prompt", "at most 2000"),
        ({"prompt": "\x00"}, "prompt", "NUL"),
        ({"n": 9}, "n", "between 1 and 8"),
        ({"n": 0}, "n", "between 1 and 8"),
        ({"n": 1.5}, "n", "a whole number"),
        ({"n": "2"}, "n", "a whole number"),
        ({"n": True}, "n", "a whole number"),
        ({"seed": -1}, "seed", "between 0 and 4294967295"),
        ({"seed": 2**32}, "seed", "between 0 and 4294967295"),
        ({"decoder_seed": 2**32}, "decoder_seed", "between 0 and 4294967295"),
        ({"steps": 101}, "steps", "between 1 and 100"),
        ({"decoder_steps": 0}, "decoder_steps", "between 1 and 100"),
        ({"guidance_scale": 20.5}, "guidance_scale", "between 0 and 20"),
        ({"decoder_guidance_scale": -1}, "decoder_guidance_scale", "between 0 and 20"),
        ({"width": 300}, "width", "multiple of 128"),
        ({"height": 1024}, "height", "between 256 and 512"),
        ({"format": "gif"}, "format", "'png', 'webp' or 'jpeg'"),
        ({"kind": "upscale"}, "kind", "'generate', 'vary_details'"),
        ({"user": ""}, "user", "must not be empty"),
        ({"user": "a\nb"}, "user", "printable"),
        ({"client_state": []}, "client_state", "a JSON object"),
        ({"client_state": {"a": "x" * 5000}}, "client_state", "at most 4096 bytes"),
        ({"colour": "red"}, "colour", "unknown field"),
    ],
)
async def test_a_bad_value_is_400_and_names_the_field_and_the_range(
    client: httpx.AsyncClient, changes: dict[str, Any], field: str, words: str
) -> None:
    answer = await post(client, **changes)
    assert answer.status_code == 400
    error = error_of(answer)
    assert (error["code"], error["field"]) == ("invalid_value", field)
    assert field in error["message"]
    assert words in error["message"]


@pytest.mark.parametrize(
    "body",
    [
        b'{"prompt": "\\ud800"}',
        b'{"prompt": "x", "client_state": {"a": "\\ud800"}}',
        b'{"prompt": "x", "client_state": {"a": NaN}}',
        b'{"prompt": "x", "guidance_scale": NaN}',
        b'{"prompt": "x", "guidance_scale": 1e999}',
        b'{"prompt": "x", "\\ud800": 1}',
        b'{"prompt": "x", "kind": "\\ud800"}',
        b'{"prompt": "x", "user": "\\ud800"}',
        b'{"kind": "vary_details", "latent_id": "\\ud800"}',
        b'{"kind": "vary_details", "latent_id": "../../etc/passwd"}',
        b'{"kind": "vary_details", "latent_id": 3}',
    ],
)
async def test_hostile_values_never_become_a_500(client: httpx.AsyncClient, body: bytes) -> None:
    headers = {"content-type": "application/json"}
    answer = await client.post("/v1/jobs", content=body, headers=headers)
    assert answer.status_code in {400, 404}
    error_of(answer)


@pytest.mark.parametrize(
    ("path", "limit"), [("/v1/jobs", JOB_LIMIT), ("/v1/images/generations", JSON_LIMIT)]
)
async def test_a_body_over_its_limit_is_413(
    client: httpx.AsyncClient, path: str, limit: BodyLimit
) -> None:
    answer = await client.post(path, json={"prompt": "x" * limit.size_bytes})
    assert answer.status_code == 413
    assert error_of(answer)["code"] == "body_too_large"


async def test_a_body_without_a_length_is_bounded_too(client: httpx.AsyncClient) -> None:
    async def chunks() -> Any:
        for _ in range(100):
            yield b" " * 32 * 1024

    headers = {"content-type": "application/json"}
    answer = await client.post("/v1/jobs", content=chunks(), headers=headers)
    assert answer.status_code == 413
    assert error_of(answer)["code"] == "body_too_large"


@pytest.mark.parametrize(
    ("given", "is_kept"),
    [("abc-1.2_X", True), ("", False), ("a b", False), ("x" * 65, False), ("a\u00e9", False)],
)
async def test_a_harmless_request_id_is_kept(
    client: httpx.AsyncClient, given: str, is_kept: bool
) -> None:
    answer = await client.get("/nope", headers={b"x-request-id": given.encode("latin-1")})
    assert (error_of(answer)["request_id"] == given) is is_kept
    assert answer.headers["x-request-id"]


async def test_the_unexpected_is_500_and_only_the_log_has_the_details(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, caplog: pytest.LogCaptureFixture
) -> None:
    fake_jobs.error = RuntimeError("password hunter2")
    with caplog.at_level(logging.ERROR, "serve"):
        answer = await client.post("/v1/jobs", json={"prompt": "x"})
    assert answer.status_code == 500
    assert error_of(answer)["code"] == "internal"
    assert "hunter2" not in answer.text
    assert "hunter2" in caplog.text


def test_missing_keys_and_limits_have_kinds_of_errors_of_their_own() -> None:
    kinds = [error_body(status, "x", "x")["error"]["type"] for status in (401, 403, 429)]
    assert kinds == ["authentication_error", "permission_error", "rate_limit_error"]


async def test_a_service_that_is_not_ready_is_503_with_a_time_to_come_back(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    fake_jobs.error = NotReady("the service is shutting down")
    answer = await client.post("/v1/jobs", json={"prompt": "x"})
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert answer.headers["x-should-retry"] == "true"
    assert error_of(answer)["message"] == "the service is shutting down"


@pytest.mark.parametrize("error", [NonFiniteLatent("layer 3 is NaN"), Internal("disk /dev/sda1")])
async def test_our_own_failures_keep_their_details_in_the_log(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, error: Exception
) -> None:
    fake_jobs.error = error
    answer = await client.post("/v1/jobs", json={"prompt": "x"})
    assert answer.status_code == 500
    assert answer.headers["x-should-retry"] == "false"
    assert str(error) not in answer.text


async def test_each_request_is_logged_with_its_id_but_no_routine_probe(
    client: httpx.AsyncClient,
    fake_jobs: FakeJobsClient,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(readiness, "KEPT_S", 0.0)
    configure_logging(Settings())
    await client.get("/v1/models", headers={"x-request-id": "R1"})
    await client.get("/healthz")
    await client.get("/readyz")
    fake_jobs.states["StageC"] = "loading"
    await client.get("/readyz")
    models, ready = capsys.readouterr().err.splitlines()
    assert "GET /v1/models -> 200" in models
    assert "request_id=R1" in models.split()  # a trace's id may follow
    assert "GET /readyz -> 503" in ready
