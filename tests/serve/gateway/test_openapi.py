from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from cascade_core.families.spec import Family
from cascade_core.families.stable_cascade import STABLE_CASCADE
from cascade_core.operations.fields import MAX_IMAGES, MAX_SEED
from cascade_core.request import GenerationRequest
from serve.gateway.schemas.jobs import ResolvedRequest
from tests.serve.attacker import OPEN_TO_ALL
from tests.serve.fake_jobs_client import FakeJobsClient
from tests.serve.served import serve_instead

ROUTES = {
    ("get", "/v1/keys"),
    ("post", "/v1/keys"),
    ("delete", "/v1/keys/{key_id}"),
    ("get", "/v1/library"),
    ("get", "/v1/library/timeline"),
    ("get", "/v1/library/zip"),
    ("get", "/v1/assets"),
    ("get", "/v1/assets/{image_id}"),
    ("delete", "/v1/assets/{image_id}"),
    ("post", "/v1/assets/transitions"),
    ("post", "/v1/assets/{image_id}/transitions"),
    ("get", "/v1/assets/{image_id}/history"),
    ("get", "/v1/assets/{image_id}/comments"),
    ("post", "/v1/assets/{image_id}/comments"),
    ("patch", "/v1/assets/{image_id}/comments/{comment_id}"),
    ("delete", "/v1/assets/{image_id}/comments/{comment_id}"),
    ("get", "/v1/audit"),
    ("post", "/v1/exports"),
    ("get", "/v1/exports/presets"),
    ("put", "/v1/exports/presets/{preset_name}"),
    ("delete", "/v1/exports/presets/{preset_name}"),
    ("post", "/v1/comparisons"),
    ("get", "/v1/comparisons"),
    ("get", "/v1/comparisons/{comparison_id}"),
    ("get", "/v1/comparisons/{comparison_id}/events"),
    ("post", "/v1/comparisons/{comparison_id}/votes"),
    ("get", "/v1/boards"),
    ("post", "/v1/boards"),
    ("patch", "/v1/boards/{board_id}"),
    ("delete", "/v1/boards/{board_id}"),
    ("put", "/v1/boards/{board_id}/pictures"),
    ("delete", "/v1/boards/{board_id}/pictures"),
    ("get", "/v1/me"),
    ("get", "/v1/sessions"),
    ("post", "/v1/sessions"),
    ("delete", "/v1/sessions/{session_id}"),
    ("get", "/v1/thumbs/{image_id}"),
    ("post", "/v1/jobs"),
    ("get", "/v1/jobs"),
    ("get", "/v1/jobs/{job_id}"),
    ("delete", "/v1/jobs/{job_id}"),
    ("patch", "/v1/jobs/{job_id}"),
    ("post", "/v1/jobs/{job_id}/continue"),
    ("post", "/v1/jobs/{job_id}/redo"),
    ("get", "/v1/jobs/{job_id}/events"),
    ("get", "/v1/events"),
    ("get", "/v1/jobs/{job_id}/previews/{name}"),
    ("get", "/v1/images/{image_id}"),
    ("delete", "/v1/images/{image_id}"),
    ("patch", "/v1/images/{image_id}"),
    ("get", "/v1/images/{image_id}/lineage"),
    ("post", "/v1/images/{image_id}/share"),
    ("delete", "/v1/images/{image_id}/share"),
    ("get", "/v1/shared/{image_id}"),
    ("post", "/v1/uploads"),
    ("get", "/v1/uploads/{upload_id}"),
    ("get", "/v1/uploads/{upload_id}/content"),
    ("delete", "/v1/uploads/{upload_id}"),
    ("get", "/v1/latents/{latent_id}"),
    ("delete", "/v1/latents/{latent_id}"),
    ("post", "/v1/uploads"),
    ("get", "/v1/uploads/{upload_id}"),
    ("get", "/v1/uploads/{upload_id}/content"),
    ("delete", "/v1/uploads/{upload_id}"),
    ("post", "/v1/verify"),
    ("post", "/v1/images/bulk"),
    ("post", "/v1/images/generations"),
    ("post", "/v1/images/variations"),
    ("get", "/v1/models"),
    ("get", "/v1/models/{model_id}"),
    ("get", "/v1/preferences/{name}"),
    ("put", "/v1/preferences/{name}"),
    ("delete", "/v1/preferences/{name}"),
    ("get", "/v1/status"),
    ("get", "/healthz"),
    ("get", "/readyz"),
}


@pytest.fixture
def document(app: FastAPI) -> dict[str, Any]:
    return app.openapi()


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield method, path, operation


def validator(document: dict[str, Any], name: str) -> Draft202012Validator:
    components = {"components": document["components"]}
    return Draft202012Validator({"$ref": f"#/components/schemas/{name}"} | components)


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref":
                yield value
            else:
                yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def test_every_route_is_documented_with_a_name_of_its_own(document: dict[str, Any]) -> None:
    found = list(operations(document))
    assert {(method, path) for method, path, _ in found} == ROUTES
    names = [operation["operationId"] for *_, operation in found]
    assert len(set(names)) == len(names)
    assert all(operation["description"] for *_, operation in found)


def test_the_document_is_sound(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    for reference in references(document):
        name = reference.removeprefix("#/components/schemas/")
        assert name in document["components"]["schemas"]
    for _, path, operation in operations(document):
        in_path = [item["name"] for item in operation.get("parameters", []) if item["in"] == "path"]
        assert in_path == re.findall(r"{(\w+)}", path)


def test_every_route_shows_its_errors_in_our_form(document: dict[str, Any]) -> None:
    ours = {"$ref": "#/components/schemas/ErrorAnswer"}
    for _, path, operation in operations(document):
        shown = {
            status: answer["content"]["application/json"]["schema"]
            for status, answer in operation["responses"].items()
            if status == "default" or status >= "400"
        }
        assert "default" in shown, path
        assert all(schema == ours for schema in shown.values()), path
    assert "HTTPValidationError" not in document["components"]["schemas"]


def test_every_route_says_whether_it_needs_a_key(document: dict[str, Any]) -> None:
    scheme = document["components"]["securitySchemes"]["ApiKey"]
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    for method, path, operation in operations(document):
        is_open = (method.upper(), path) in OPEN_TO_ALL
        assert operation.get("security", []) == ([] if is_open else [{"ApiKey": []}]), path
        if not is_open:
            assert {"401", "403", "429"} <= operation["responses"].keys(), path


def test_every_example_is_valid(document: dict[str, Any]) -> None:
    with_examples = {
        name: schema["examples"]
        for name, schema in document["components"]["schemas"].items()
        if "examples" in schema
    }
    names = {"JobBody", "JobAnswer", "JobList", "ModelList", "Ready", "Health", "ErrorAnswer"}
    names |= {"ImagesBody", "ImagesAnswer", "Model"}
    assert with_examples.keys() >= names
    for name, examples in with_examples.items():
        for example in examples:
            validator(document, name).validate(example)


async def test_the_examples_of_a_job_are_accepted(
    client: httpx.AsyncClient, document: dict[str, Any]
) -> None:
    example, *from_latents = document["components"]["schemas"]["JobBody"]["examples"]
    assert (await client.post("/v1/jobs", json=example)).status_code == 202
    for other in from_latents:
        answer = await client.post("/v1/jobs", json=other)
        assert answer.status_code == 404  # no such latent


async def test_the_example_of_an_image_is_drawn(
    client: httpx.AsyncClient, running: FakeJobsClient, document: dict[str, Any]
) -> None:
    [example] = document["components"]["schemas"]["ImagesBody"]["examples"]
    answer = await client.post("/v1/images/generations", json=example)
    assert answer.status_code == 200
    validator(document, "ImagesAnswer").validate(answer.json())


def test_the_ranges_shown_are_those_that_are_checked(document: dict[str, Any]) -> None:
    fields = document["components"]["schemas"]["JobBody"]["properties"]
    assert (fields["n"]["minimum"], fields["n"]["maximum"]) == (1, MAX_IMAGES)
    assert fields["seed"]["maximum"] == MAX_SEED
    assert fields["width"]["multipleOf"] == 128
    assert set(GenerationRequest.__dataclass_fields__) == set(ResolvedRequest.model_fields)


async def test_real_answers_match_their_schemas_to_the_last_field(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, document: dict[str, Any]
) -> None:
    for schema in document["components"]["schemas"].values():
        schema["additionalProperties"] = schema.get("additionalProperties", False)
    body = {"prompt": "x", "client_state": {"a": 1}}
    job_id = (await client.post("/v1/jobs", json=body)).json()["id"]
    await fake_jobs.make_image(job_id)
    answers = {"JobAnswer": [(await client.get(f"/v1/jobs/{job_id}")).json()]}
    fake_jobs.finish(job_id, "succeeded")
    answers["JobAnswer"].append((await client.get(f"/v1/jobs/{job_id}")).json())
    answers["JobList"] = [(await client.get("/v1/jobs")).json()]
    answers["ModelList"] = [(await client.get("/v1/models")).json()]
    answers["Ready"] = [(await client.get("/readyz")).json()]
    answers["Status"] = [(await client.get("/v1/status")).json()]
    answers["Health"] = [(await client.get("/healthz")).json()]
    answers["ErrorAnswer"] = [(await client.get("/nope")).json()]
    for name, bodies in answers.items():
        for answer in bodies:
            validator(document, name).validate(answer)


def test_the_stages_of_another_family_are_in_keys_values_and_examples(app: FastAPI) -> None:
    kept, *_ = STABLE_CASCADE.stages
    plan = replace(kept, name="plan", title="Planning", share=0.0)
    drawn = replace(kept, name="draw", output="", keeps_output=False, share=0.4)
    serve_instead(app.state.services, Family(name="two", stages=(plan, drawn)))
    document = app.openapi()
    schemas = document["components"]["schemas"]
    assert schemas["JobAnswer"]["properties"]["stage"]["anyOf"][0]["enum"] == ["plan", "draw"]
    assert schemas["Cost"]["required"] == ["plan_s", "draw_s"]
    assert "stage_c" in schemas["Image"]["required"], "a client reads one key of every family"
    (model,) = schemas["Model"]["examples"]
    assert model["stages"][0] == {
        "name": "plan",
        "title": "Planning",
        "share": 0.0,
        "is_stored": True,
        "draws_details": False,
        "scales": False,
        "parameters": 2_400_000,
        "weight_bytes": 4_800_000,
    }
    for name in ("JobAnswer", "JobList", "Model", "ModelList", "Status", "Ready"):
        for example in schemas[name]["examples"]:
            validator(document, name).validate(example)


async def test_the_document_and_its_page_are_served(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    assert document["info"]["title"] == "Cascade Serve"
    assert (await client.get("/openapi.json")).json() == document
    page = (await client.get("/docs")).text
    assets = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert any(asset.endswith(".js") for asset in assets)
    for asset in assets:  # all from here: a closed network shows the page, too
        assert (await client.get(asset)).status_code == 200
