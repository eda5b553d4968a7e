"""Unexpected requests, which schemathesis makes from the API's own document."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import BaseSchema, Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.bot.gateway import Service
from tests.limits import HANG_S
from tests.serve.attacker import ENDLESS
from tests.serve.fake_jobs_client import FakeJobsClient
from tests.serve.gateway.test_openapi import ROUTES
from tests.serve.live_server import Server

EXAMPLES = 6
ENDING = ROUTES - {(method.lower(), path) for method, path in ENDLESS}
WITHOUT_VALUES = {
    *(("get", path) for path in ("/healthz", "/readyz", "/v1/status", "/v1/models")),
    *(("get", path) for path in ("/v1/models/{model_id}", "/v1/keys", "/v1/me", "/v1/sessions")),
    *(("delete", path) for path in ("/v1/keys/{key_id}", "/v1/sessions/{session_id}")),
    ("delete", "/v1/assets/{image_id}"),
    ("get", "/v1/exports/presets"),
    ("delete", "/v1/exports/presets/{preset_name}"),
}
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
bounded = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> BaseSchema:
    """The API without its security: permissions are tested elsewhere."""
    service = Service(tmp_path_factory.mktemp("api"))
    document = service.app.openapi()
    service.database.close()
    for item in document["paths"].values():
        for operation in item.values():
            operation.pop("security", None)
    return schemathesis.openapi.from_dict(document)


@pytest.fixture
def server(app: FastAPI, running: FakeJobsClient) -> Iterator[Server]:
    with Server(app) as server:
        yield server


@pytest.mark.parametrize(("method", "path"), sorted(ENDING))
def test_valid_requests_are_answered_as_the_document_says(
    api: BaseSchema, server: Server, method: str, path: str
) -> None:
    operation = api[path][method]
    known = real_ids(server)

    @bounded
    @given(case=operation.as_strategy(), names=st.sets(st.sampled_from(sorted(known))))
    def check(case: Case, names: set[str]) -> None:
        case.path_parameters.update(
            {name: known[name] for name in names & set(case.path_parameters)}
        )
        case.validate_response(case.call(base_url=server.url), checks=CHECKS)

    check()


@pytest.mark.parametrize(("method", "path"), sorted(ENDING - WITHOUT_VALUES))
def test_invalid_requests_are_refused_as_the_document_says(
    api: BaseSchema, server: Server, method: str, path: str
) -> None:
    operation = api[path][method]

    @bounded
    @given(case=operation.as_strategy(GenerationMode.NEGATIVE))
    def check(case: Case) -> None:
        response = case.call(base_url=server.url)
        case.validate_response(response, checks=[*CHECKS, negative_data_rejection])

    check()


def real_ids(server: Server) -> dict[str, str]:
    """Make an image; returns what it can be found by, named like the parameters of paths."""
    answer = httpx.post(f"{server.url}/v1/images/generations", json={"prompt": "x"}, timeout=HANG_S)
    image = answer.json()["data"][0]
    board = httpx.post(f"{server.url}/v1/boards", json={"title": "x"}, timeout=HANG_S)
    ids = {name: image[name] for name in ("image_id", "latent_id")}
    ids["board_id"] = board.json()["id"]
    comments = f"{server.url}/v1/assets/{image['image_id']}/comments"
    ids["comment_id"] = httpx.post(comments, json={"text": "x"}, timeout=HANG_S).json()["id"]
    both = {"prompt": "x", "settings": [{"steps": 1}, {"steps": 2}]}
    comparison = httpx.post(f"{server.url}/v1/comparisons", json=both, timeout=HANG_S)
    ids["comparison_id"] = comparison.json()["id"]
    more = {"job_id": answer.json()["job_id"], "name": "0-c-5.webp", "model_id": "demo"}
    return ids | more
