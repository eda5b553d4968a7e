"""From a picture's stored composition to the requests that start from it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bot.policy import job_request, steering
from bot.policy.job_request import EditedValues, JobRequest
from bot.service.models import Composition, Image, ModelInfo
from bot.text.error_messages import UserError
from cascade_core.families.stable_cascade import STABLE_CASCADE
from tests.bot.conftest import JOB_ID, JobMaker

MODEL = ModelInfo("demo", "Apache-2.0", 1024, 1024, 128, 256, 2048, (), 20, STABLE_CASCADE.stages)


def image(width: int, height: int) -> Image:
    return Image("IMG0", 0, "LAT0", 7, 7, width, height)


def form(**changes: str) -> EditedValues:
    values = {"prompt": "a blue fox", "seed": "7", "filled_seed": "7"} | changes
    return EditedValues(**values, keep=True)


@pytest.mark.parametrize("strength", ["subtle", "strong"])
def test_a_variation_is_composed_from_the_pictures_latent(
    make_job: JobMaker, strength: steering.StrengthWord
) -> None:
    request = steering.vary_composition(make_job(pictures=2), 1, strength, JobRequest())
    body = request.to_body()
    assert (body["kind"], body["latent_id"], body["strength"]) == ("vary", "LAT1", strength)
    assert (body["n"], body["prompt"], body["steps"]) == (1, "a red fox", 20)
    assert not {"width", "height", "seed", "decoder_seed"} & body.keys()
    assert (request.of, request.means) == ((JOB_ID, 1), strength)


def test_a_remix_keeps_the_composition_and_takes_what_the_form_says(make_job: JobMaker) -> None:
    job = make_job(pictures=2, negative_prompt="text")
    request = steering.remix(job, form(which="1", negative_prompt="", seed="42"), JobRequest())
    body = request.to_body()
    assert (body["kind"], body["latent_id"], body["strength"]) == ("vary", "LAT1", "subtle")
    assert (body["prompt"], body["negative_prompt"], body["seed"]) == ("a blue fox", "", 42)
    assert request.means == "remix"


def test_the_pictures_own_seed_is_not_that_of_its_remix(make_job: JobMaker) -> None:
    job = make_job(pictures=1)
    seeds = {steering.remix(job, form(), JobRequest()).seed for _ in range(3)}
    assert 7 not in seeds
    assert len(seeds) == 3


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"which": "all"}, "keep_one"),
        ({"size": "512x512"}, "keep_size"),
        ({"prompt": " "}, "empty_prompt"),
        ({"seed": "x"}, "no_seed"),
        ({"which": "3"}, "picture_gone"),
    ],
)
def test_what_a_kept_composition_cannot_have_is_refused(
    make_job: JobMaker, given: dict[str, str], reason: str
) -> None:
    with pytest.raises(UserError) as caught:
        steering.remix(make_job(pictures=2), form(**given), JobRequest())
    assert caught.value.key == f"user_error.{reason}"


def test_larger_and_finer_draw_the_same_composition_with_the_same_seed_of_details(
    make_job: JobMaker,
) -> None:
    job = make_job(pictures=2, width=1024, height=768, steps=99)
    larger = steering.larger(job, 1, MODEL, JobRequest())
    assert larger.to_body() == {
        "kind": "decode",
        "latent_id": "LAT1",
        "width": 1536,
        "height": 1152,
        "n": 1,
        "decoder_seed": 8,
        "decoder_steps": 10,
        "decoder_guidance_scale": 0.0,
    }
    assert larger.steps is None, "a server's limit of composing steps does not apply"
    finer = steering.finer(job, 1, JobRequest()).to_body()
    assert finer == larger.to_body() | {"width": 1024, "height": 768, "decoder_steps": 20}
    with pytest.raises(UserError, match="no_finer"):
        steering.finer(make_job(decoder_steps=20), 0, JobRequest())


@pytest.mark.parametrize(
    ("size", "larger"),
    [
        ((256, 256), (384, 384)),
        ((1024, 768), (1536, 1152)),
        ((384, 256), None),  # 576 is no multiple of 128
        ((1536, 1024), None),  # 2304 is over the largest side
    ],
)
def test_larger_is_offered_where_both_sides_are_sizes_of_the_model(
    make_job: JobMaker, size: tuple[int, int], larger: tuple[int, int] | None
) -> None:
    assert steering.larger_size(image(*size), MODEL) == larger


def test_an_operation_that_the_model_does_not_list_is_not_offered(make_job: JobMaker) -> None:
    model = replace(MODEL, operations=("generate", "vary_details"))
    assert not model.offers("vary")
    assert steering.larger_size(image(256, 256), model) is None
    with pytest.raises(UserError, match="no_larger"):
        steering.larger(make_job(), 0, model, JobRequest())
    assert MODEL.offers("vary"), "a service that lists no operations has those of its stages"
    assert not replace(MODEL, stages=()).offers("vary")


def test_a_variation_is_tried_again_and_re_rolled_from_its_latent(make_job: JobMaker) -> None:
    job = make_job(kind="vary", latent_id="LAT5", strength=0.9, seed=3, decoder_seed=4)
    again = job_request.again(job, ("ORIGINAL", 2), JobRequest())
    body = again.to_body()
    assert (body["kind"], body["latent_id"], body["strength"]) == ("vary", "LAT5", 0.9)
    assert (body["seed"], body["decoder_seed"], body["steps"]) == (3, 4, 20)
    rerolled = job_request.reroll(job, ("ORIGINAL", 2), JobRequest())
    assert rerolled.to_body() == {
        name: value for name, value in body.items() if name != "decoder_seed"
    } | {"seed": rerolled.seed}
    assert rerolled.seed != 3
    assert again.of == rerolled.of == ("ORIGINAL", 2)


def test_a_larger_picture_is_tried_again_at_its_size(make_job: JobMaker) -> None:
    job = make_job(kind="decode", latent_id="LAT5", width=1536, height=1152, decoder_seed=4)
    body = job_request.again(job, None, JobRequest()).to_body()
    assert (body["kind"], body["width"], body["height"]) == ("decode", 1536, 1152)
    assert (body["decoder_seed"], "seed" in body, "steps" in body) == (4, False, False)


def test_a_draft_is_finished_from_its_latent_with_its_own_seed_of_details(
    make_job: JobMaker,
) -> None:
    drafts = tuple(Composition(index, f"LAT{index}", 7 + index, "/p.webp") for index in range(4))
    job = make_job(pictures=0, n=4, stop_after="c", state="waiting", compositions=drafts)
    request = steering.pick(job, 2, JobRequest())
    assert request.to_body() == {
        "kind": "decode",
        "latent_id": "LAT2",
        "width": 1024,
        "height": 768,
        "n": 1,
        "decoder_seed": 9,
        "decoder_steps": 10,
        "decoder_guidance_scale": 0.0,
    }
    assert request.means == "pick"
    with pytest.raises(UserError, match="picture_gone"):
        steering.pick(job, 4, JobRequest())
    again = job_request.reroll(job, None, JobRequest()).to_body()
    assert (again["kind"], again["n"], again["stop_after"]) == ("generate", 4, "c")


def test_progress_of_drafts_ends_at_their_stop() -> None:
    assert [stage.name for stage in MODEL.route("generate", "c")] == ["c"]
    assert [stage.name for stage in MODEL.route("generate")] == list(STABLE_CASCADE.names)
    assert MODEL.kept_stage == MODEL.stages[0]


def test_a_start_from_a_picture_of_the_bot_names_it_and_one_from_an_attachment_is_uploaded(
    make_job: JobMaker,
) -> None:
    template = JobRequest(prompt=" a  blue fox ", strength=0.5, source="https://x")
    request = steering.start("1", make_job(pictures=2), template)
    assert request.to_body() == {
        "kind": "image_to_image",
        "image": "IMG1",
        "prompt": "a blue fox",
        "negative_prompt": "",
        "strength": 0.5,
        "n": 1,
    }
    assert (request.of, request.means) == ((JOB_ID, 1), "start")
    attached = steering.start("https://cdn/a.png", None, template)
    assert attached.attachment_url == "https://cdn/a.png"
    assert "image" not in attached.to_body()
    with pytest.raises(UserError, match="picture_gone"):
        steering.start("2", make_job(pictures=2), template)
    with pytest.raises(UserError, match="empty_prompt"):
        steering.start("0", make_job(), JobRequest(prompt=" "))


def test_what_started_from_a_picture_is_made_anew_from_it(make_job: JobMaker) -> None:
    job = make_job(pictures=2, kind="image_to_image", image="UPLOAD", strength=0.6)
    again = job_request.reroll(job, None, JobRequest())
    edited = job_request.edit(
        job, EditedValues(prompt="a cat", which="all", seed="7", filled_seed="7"), JobRequest()
    )
    for request in (again, edited):
        body = request.to_body()
        assert (body["kind"], body["image"], body["strength"]) == ("image_to_image", "UPLOAD", 0.6)
        assert body["n"] == 2
    assert again.seed != 7
    assert (edited.prompt, edited.seed) == ("a cat", 7)
