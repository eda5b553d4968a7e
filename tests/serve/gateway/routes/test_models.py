"""The model that clients are shown."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import httpx
from safetensors.numpy import load_file

from cascade_core.checkpoints.checkpoint import Checkpoint, ModelSource
from cascade_core.checkpoints.model_folders import DEMO_MODEL_DIR
from cascade_core.families.spec import Family
from cascade_core.families.stable_cascade import STABLE_CASCADE
from cascade_core.request import GenerationRequest
from serve.gateway.dependencies import Services
from serve.gateway.schemas.operations import operation_details
from serve.served_models import choose_models, open_models
from tests.serve.api_calls import create, made
from tests.serve.fake_jobs_client import FakeJobsClient
from tests.serve.served import serve_instead


def stage(name: str, title: str, share: float, **can: bool) -> dict[str, Any]:
    cannot = dict.fromkeys(("is_stored", "draws_details", "scales"), False)
    unknown = dict.fromkeys(("parameters", "weight_bytes"))
    return {"name": name, "title": title, "share": share, **cannot, **unknown, **can}


async def test_the_model_is_shown_with_its_licence_and_limits(
    client: httpx.AsyncClient, checkpoint: Checkpoint
) -> None:
    operations = operation_details(STABLE_CASCADE, checkpoint.defaults)
    assert (await client.get("/v1/models")).json() == {
        "object": "list",
        "data": [
            {
                "id": "demo",
                "object": "model",
                "created": 0,
                "owned_by": "cascade-serve",
                "revision": "r1",
                "fingerprint": "f1",
                "licence": "Apache-2.0",
                "terms": {"hosting": "check", "commercial": "check"},
                "trained_on": None,
                "weaknesses": [],
                "defaults": {
                    "width": 256,
                    "height": 384,
                    "steps": 12,
                    "guidance_scale": 3.0,
                    "decoder_steps": 6,
                    "decoder_guidance_scale": 0.0,
                },
                "sizes": {"multiple_of": 128, "min_side": 256, "max_side": 512},
                "suggestions": ["a red circle"],
                "takes_uploads": True,
                "stages": [
                    stage("c", "C composing", 0.6, is_stored=True),
                    stage("b", "B detailing", 0.35, draws_details=True, scales=True),
                    stage("a", "A decoding", 0.05),
                ],
                "operations": [operation.model_dump() for operation in operations],
            }
        ],
    }


async def test_a_model_shows_its_terms_its_weaknesses_and_what_its_stages_weigh(
    client: httpx.AsyncClient, services: Services
) -> None:
    services.models = open_models(choose_models([ModelSource()]))
    model = (await client.get("/v1/models/demo")).json()
    assert model["terms"] == {"hosting": "allowed", "commercial": "allowed"}
    assert model["trained_on"].startswith("20,000 scenes")
    assert "lettering" in model["weaknesses"][1]
    files = ["prior_prior/diffusion_pytorch_model", "text_encoder/model"]
    tensors = [
        tensor
        for name in files
        for tensor in load_file(DEMO_MODEL_DIR / f"{name}.safetensors").values()
    ]
    composing = model["stages"][0]
    assert composing["parameters"] == sum(tensor.size for tensor in tensors)
    assert composing["weight_bytes"] == sum(tensor.nbytes for tensor in tensors)


async def test_a_model_without_an_encoder_says_that_it_takes_no_uploads(
    client: httpx.AsyncClient, services: Services
) -> None:
    serve_instead(services, picture_encoder=None)
    model = (await client.get("/v1/models/demo")).json()
    assert model["takes_uploads"] is False
    assert "image_to_image" in [operation["name"] for operation in model["operations"]]


async def test_the_operations_are_shown_with_the_fields_limits_defaults_and_choices_of_the_model(
    client: httpx.AsyncClient,
) -> None:
    shown = (await client.get("/v1/models/demo")).json()["operations"]
    operations = {operation["name"]: operation for operation in shown}
    assert (operations["generate"]["title"], operations["vary_details"]["title"]) == (
        "new pictures",
        "new details",
    )
    assert operations["vary_details"]["stages"] == ["b", "a"]
    generate, vary_details = (
        {field["name"]: field for field in operations[name]["fields"]}
        for name in ("generate", "vary_details")
    )
    assert generate["width"] == {
        "name": "width",
        "limits": {"type": "integer", "minimum": 256, "maximum": 512, "multipleOf": 128},
        "words": {},
        "choices": [256, 384, 512],
        "is_required": False,
        "default": 256,
        "default_from": None,
    }
    assert (vary_details["latent_id"]["is_required"], generate["prompt"]["is_required"]) == (
        True,
        True,
    )
    assert vary_details["decoder_steps"]["default_from"] == "latent"
    assert generate["decoder_seed"]["default_from"] == "seed"
    strength = next(f for f in operations["vary"]["fields"] if f["name"] == "strength")
    assert strength["words"] == {"subtle": 0.7, "strong": 0.9}
    assert (strength["choices"], strength["default"]) == (["subtle", "strong"], "subtle")


async def test_what_the_model_cannot_do_is_refused_by_name(
    client: httpx.AsyncClient, services: Services
) -> None:
    first, *others = STABLE_CASCADE.stages
    serve_instead(
        services, Family(name="one", stages=(replace(first, keeps_output=False), *others))
    )
    shown = (await client.get("/v1/models")).json()["data"][0]["operations"]
    assert [operation["name"] for operation in shown] == ["generate"]
    answer = await client.post("/v1/jobs", json={"kind": "vary_details", "latent_id": "L"})
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, "kind")
    assert "vary_details" in answer.json()["error"]["message"]


async def test_a_field_that_an_operation_does_not_list_is_refused_by_name(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    [image] = (await made(client, fake_jobs))["images"]
    latent_id = image["latent_id"]
    series = {"template": "a {colour} star", "variants": [{"colour": "red"}], "hero": latent_id}
    values = {"prompt": "x", "latent_id": latent_id, "image": image["id"]} | series
    shown = (await client.get("/v1/models")).json()["data"][0]["operations"]
    fields = {field["name"]: field for operation in shown for field in operation["fields"]}
    for operation in shown:
        required = [field["name"] for field in operation["fields"] if field["is_required"]]
        body = {"kind": operation["name"]} | {name: values[name] for name in required}
        for name in fields.keys() - {field["name"] for field in operation["fields"]}:
            wrong = body | {name: values.get(name, _some_value(fields[name]))}
            answer = await client.post("/v1/jobs", json=wrong)
            assert (answer.status_code, answer.json()["error"]["field"]) == (422, name)


def _some_value(field: dict[str, Any]) -> object:
    offered = [*field["choices"], field["limits"].get("minimum", "x")]
    return offered[0]


async def test_the_defaults_shown_make_a_valid_request(client: httpx.AsyncClient) -> None:
    defaults = (await client.get("/v1/models")).json()["data"][0]["defaults"]
    GenerationRequest(prompt="x", seed=0, decoder_seed=0, **defaults)
    assert (await create(client, **defaults))["request"]["steps"] == 12
