from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest

from cascade_core.checkpoints.checkpoint import Checkpoint
from cascade_core.errors import Gone, InvalidRequest, ModelMismatch, NotFound, Unsupported
from cascade_core.families.stable_cascade import STABLE_CASCADE
from cascade_core.handoff import ModelRef
from cascade_core.operations.registry import VARY_DETAILS
from cascade_core.request import GenerationRequest
from serve.gateway.application import create_app
from serve.gateway.dependencies import Services
from serve.gateway.resolution import resolve_request
from serve.gateway.schemas.jobs import JobBody
from serve.served_models import OpenModel
from serve.storage.records import LatentRow, utc_now
from tests.ray.families.two_stages import TWO_STAGES
from tests.serve.served import changed, served

MODEL = ModelRef("demo", "r1", "f1")


@pytest.fixture
def row(make_request: Callable[..., GenerationRequest]) -> LatentRow:
    request = make_request(width=384, steps=9, decoder_steps=4, format="webp", seed=3)
    return LatentRow("LAT1", "JOB1", 0, MODEL, request)


def vary(checkpoint: Checkpoint, row: LatentRow | None, **given: Any) -> GenerationRequest:
    body = JobBody.model_validate({"kind": "vary_details", "latent_id": "LAT1"} | given)
    return resolve_request(body, row, OpenModel(STABLE_CASCADE, checkpoint))


def test_absent_values_come_from_the_models_defaults(checkpoint: Checkpoint) -> None:
    request = resolve_request(
        JobBody(prompt="x", seed=5), None, OpenModel(STABLE_CASCADE, checkpoint)
    )
    assert request.to_dict() == {
        "kind": "generate",
        "prompt": "x",
        "negative_prompt": "",
        "width": 256,
        "height": 384,
        "n": 1,
        "seed": 5,
        "steps": 12,
        "guidance_scale": 3.0,
        "decoder_seed": 5,
        "decoder_steps": 6,
        "decoder_guidance_scale": 0.0,
        "latent_id": None,
        "format": "png",
        "strength": None,
        "stop_after": None,
        "model": "demo",
        "variants": None,
        "image": None,
        "hero_id": None,
    }


def test_given_values_win(checkpoint: Checkpoint) -> None:
    body = JobBody(prompt="x", seed=0, decoder_seed=9, width=512, guidance_scale=0.0, format="webp")
    request = resolve_request(body, None, OpenModel(STABLE_CASCADE, checkpoint))
    assert (request.seed, request.decoder_seed, request.width) == (0, 9, 512)
    assert (request.guidance_scale, request.format) == (0.0, "webp")


def test_absent_seeds_are_random_and_equal(checkpoint: Checkpoint) -> None:
    made = [
        resolve_request(JobBody(prompt="x"), None, OpenModel(STABLE_CASCADE, checkpoint))
        for _ in range(8)
    ]
    assert len({request.seed for request in made}) == 8
    assert all(request.seed == request.decoder_seed for request in made)


def test_a_prompt_is_needed(checkpoint: Checkpoint) -> None:
    with pytest.raises(InvalidRequest, match="prompt is missing"):
        resolve_request(JobBody(), None, OpenModel(STABLE_CASCADE, checkpoint))
    for empty in ("", " \n"):
        with pytest.raises(InvalidRequest, match="prompt must say what the picture shows"):
            resolve_request(JobBody(prompt=empty), None, OpenModel(STABLE_CASCADE, checkpoint))


def test_sides_are_bounded_by_the_model(checkpoint: Checkpoint) -> None:
    with pytest.raises(InvalidRequest, match="width must be a whole number between 256 and 512"):
        resolve_request(JobBody(prompt="x", width=640), None, OpenModel(STABLE_CASCADE, checkpoint))


def test_generate_takes_no_latent(checkpoint: Checkpoint) -> None:
    with pytest.raises(Unsupported) as caught:
        resolve_request(
            JobBody(prompt="x", latent_id="LAT1"), None, OpenModel(STABLE_CASCADE, checkpoint)
        )
    assert caught.value.field == "latent_id"


def test_a_variation_keeps_what_the_latent_fixes(checkpoint: Checkpoint, row: LatentRow) -> None:
    request = vary(checkpoint, row, n=3, decoder_seed=11)
    assert request.kind == "vary_details"
    assert request.latent_id == "LAT1"
    assert (request.n, request.decoder_seed, request.format) == (3, 11, "png")
    for name in (*VARY_DETAILS.fixed_by_latent, "decoder_steps"):
        assert getattr(request, name) == getattr(row.request, name)
    assert vary(checkpoint, row, decoder_steps=20).decoder_steps == 20


def test_variations_draw_new_details_each_time(checkpoint: Checkpoint, row: LatentRow) -> None:
    assert len({vary(checkpoint, row).decoder_seed for _ in range(8)}) == 8


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("prompt", "x"),
        ("negative_prompt", ""),
        ("width", 256),
        ("height", 256),
        ("seed", 0),
        ("steps", 1),
        ("guidance_scale", 0.0),
    ],
)
def test_a_variation_cannot_change_what_the_latent_fixes(
    checkpoint: Checkpoint, row: LatentRow, name: str, value: object
) -> None:
    with pytest.raises(Unsupported) as caught:
        vary(checkpoint, row, **{name: value})
    assert caught.value.field == name


def test_a_variation_needs_a_latent_that_is_there(checkpoint: Checkpoint, row: LatentRow) -> None:
    with pytest.raises(Unsupported, match="needs latent_id"):
        vary(checkpoint, None, latent_id=None)
    with pytest.raises(NotFound):
        vary(checkpoint, None)
    with pytest.raises(Gone):
        vary(checkpoint, replace(row, deleted_at=utc_now()))


def test_a_latent_of_other_weights_is_refused(checkpoint: Checkpoint, row: LatentRow) -> None:
    other = replace(row, model=ModelRef("demo", "r0", "f0"))
    with pytest.raises(ModelMismatch, match="made by demo r0, and demo r1 cannot go on from it"):
        vary(checkpoint, other)


async def test_a_kind_of_job_that_the_family_cannot_do_is_refused(services: Services) -> None:
    transport = httpx.ASGITransport(create_app(changed(services, models=served(TWO_STAGES))))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        answer = await client.post("/v1/jobs", json={"kind": "vary_details", "latent_id": "LAT1"})
    error = answer.json()["error"]
    assert (answer.status_code, error["field"]) == (422, "kind")
    assert error["message"] == "demo cannot do vary_details; kind can be generate"


def test_a_field_that_the_family_lacks_is_refused_by_name(checkpoint: Checkpoint) -> None:
    family = replace(STABLE_CASCADE, lacks=("guidance_scale", "negative_prompt"))
    body = JobBody(prompt="x", negative_prompt="")
    assert resolve_request(body, None, OpenModel(family, checkpoint)).negative_prompt == ""
    with pytest.raises(Unsupported) as caught:
        resolve_request(JobBody(prompt="x", guidance_scale=3), None, OpenModel(family, checkpoint))
    assert caught.value.field == "guidance_scale"
