"""From a person's choices to the request for a job."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bot.policy import job_request
from bot.policy.job_request import EditedValues, JobRequest
from bot.text.catalog import Translator
from bot.text.error_messages import UserError, error_message
from tests.bot.conftest import JobMaker


def test_re_roll_asks_for_the_same_with_another_seed(make_job: JobMaker) -> None:
    body = job_request.reroll(
        make_job(negative_prompt="text", steps=33), None, JobRequest()
    ).to_body()
    assert body["kind"] == "generate"
    assert (body["prompt"], body["negative_prompt"]) == ("a red fox", "text")
    assert (body["width"], body["height"], body["steps"]) == (1024, 768, 33)
    assert body["seed"] != 7


def test_what_is_made_from_a_picture_names_its_model(make_job: JobMaker) -> None:
    job = make_job(model="me/other")
    assert job_request.reroll(job, None, JobRequest()).to_body()["model"] == "me/other"
    assert job_request.vary(job, 0, JobRequest()).to_body()["model"] == "me/other"
    assert "model" not in job_request.vary(make_job(), 0, JobRequest()).to_body()


def test_a_re_roll_of_a_variation_keeps_the_steps_of_its_composition(make_job: JobMaker) -> None:
    job = make_job(kind="vary_details", latent_id="LAT0", steps=33, guidance_scale=6.0)
    body = job_request.reroll(job, None, JobRequest()).to_body()
    assert (body["kind"], body["steps"], body["guidance_scale"]) == ("generate", 33, 6.0)


def test_try_again_asks_for_exactly_the_same(make_job: JobMaker) -> None:
    job = make_job(pictures=0, n=3, seed=7, decoder_seed=9, negative_prompt="text", steps=33)
    request = job_request.again(job, None, JobRequest(spoiler=True))
    body = request.to_body()
    assert body == {
        "kind": "generate",
        "prompt": "a red fox",
        "negative_prompt": "text",
        "width": 1024,
        "height": 768,
        "n": 3,
        "seed": 7,
        "steps": 33,
        "guidance_scale": 4.0,
        "decoder_seed": 9,
        "decoder_steps": 10,
        "decoder_guidance_scale": 0.0,
    }
    assert request.spoiler


def test_try_again_of_a_variation_is_the_same_variation(make_job: JobMaker) -> None:
    job = make_job(pictures=0, kind="vary_details", latent_id="LAT5", seed=7, decoder_seed=9)
    request = job_request.again(job, ("ORIGINAL", 2), JobRequest())
    assert request.of == ("ORIGINAL", 2)
    assert request.to_body() == {
        "kind": "vary_details",
        "latent_id": "LAT5",
        "n": 1,
        "decoder_seed": 9,
        "decoder_steps": 10,
        "decoder_guidance_scale": 0.0,
    }


def form(job_seed: str = "7", **changes: str) -> EditedValues:
    values = {"prompt": "a red fox", "seed": job_seed, "filled_seed": job_seed} | changes
    return EditedValues(**values)


def test_an_unchanged_form_under_a_variation_asks_for_the_same_picture(
    make_job: JobMaker,
) -> None:
    job = make_job(kind="vary_details", latent_id="LAT0", decoder_seed=99)
    job = replace(job, images=(replace(job.images[0], decoder_seed=99),))
    body = job_request.edit(job, form(), JobRequest()).to_body()
    assert body["kind"] == "generate"
    assert (body["seed"], body["decoder_seed"], body["steps"]) == (7, 99, 20)


def test_one_picture_of_several_is_edited_with_its_own_seed(make_job: JobMaker) -> None:
    job = make_job(pictures=4)
    third = job_request.edit(job, form(which="2", prompt="a blue fox"), JobRequest())
    assert (third.prompt, third.seed, third.decoder_seed, third.n) == ("a blue fox", 9, 9, 1)
    every = job_request.edit(job, form(which="all"), JobRequest())
    assert (every.seed, every.n) == (7, 4)
    left = replace(job, images=job.images[1:])
    assert (job_request.edit(left, form("8", which="all"), JobRequest()).seed) == 8
    with pytest.raises(UserError):
        job_request.edit(left, form("8", which="0"), JobRequest())


def test_a_seed_that_is_typed_into_the_form_is_used_for_details_too(make_job: JobMaker) -> None:
    job = make_job(pictures=4)
    request = job_request.edit(job, form(which="2", seed="42"), JobRequest())
    assert (request.seed, request.decoder_seed, request.n) == (42, None, 1)
    emptied = job_request.edit(job, form(which="2", seed=""), JobRequest())
    assert emptied.seed not in (None, 9)


def test_vary_starts_from_the_latent_of_the_picture_that_was_meant(make_job: JobMaker) -> None:
    body = job_request.vary(make_job(pictures=2), 1, JobRequest()).to_body()
    assert body["kind"] == "vary_details"
    assert body["latent_id"] == "LAT1"
    assert not {"prompt", "width", "seed", "steps"} & body.keys()


def test_varying_a_deleted_picture_is_refused(make_job: JobMaker) -> None:
    job = make_job(pictures=2)
    job = replace(job, images=job.images[:1])
    with pytest.raises(UserError):
        job_request.vary(job, 1, JobRequest())


def test_sizes_and_seeds_are_read_as_people_write_them() -> None:
    assert job_request.parse_size(" 1024 X 768 ") == (1024, 768)
    assert job_request.parse_size("") is None
    assert job_request.parse_seed(" 42 ") == 42
    assert 0 <= job_request.parse_seed("") < 2**32
    for wrong in ("big", "1024", "1024x"):
        with pytest.raises(UserError):
            job_request.parse_size(wrong)
    for wrong in ("-1", "x", str(2**32), "²"):
        with pytest.raises(UserError):
            job_request.parse_seed(wrong)


def test_what_cannot_be_seen_alone_is_no_prompt() -> None:
    with pytest.raises(UserError):
        job_request.check_prompt(" \u200d\u200c ")


def test_a_size_that_is_none_formats_nothing_where_it_is_told(translate: Translator) -> None:
    with pytest.raises(UserError) as caught:
        job_request.parse_size("[a](http://x)")
    assert r"\[a\]" in error_message(caught.value, translate, "")
