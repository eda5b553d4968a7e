"""From a person's choices to what the service is asked for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bot.policy import job_request as orders
from bot.policy.job_request import EditedValues, Order
from bot.service.models import ModelInfo
from bot.text.catalog import Voice
from bot.text.error_messages import Refusal, sentence
from tests.bot.conftest import JobMaker

MODEL = ModelInfo("demo", "Apache-2.0", 1024, 1024, 128, 256, 2048, ("a fox",), 20)


def test_every_aspect_is_a_size_that_the_model_can_do() -> None:
    sizes = {aspect: orders.size_of(aspect, MODEL) for aspect in orders.ASPECTS}
    assert sizes["square"] == (1024, 1024)
    assert sizes["landscape"] == sizes["portrait"][::-1]
    assert len(set(sizes.values())) == len(sizes)
    for width, height in sizes.values():
        assert width % 128 == height % 128 == 0
        assert 0.6 < width * height / 1024**2 < 1.5


def test_a_small_model_still_tells_wide_from_square() -> None:
    small = replace(MODEL, width=256, height=256, max_side=384)
    assert orders.size_of("square", small) == (256, 256)
    assert orders.size_of("wide", small) == (384, 256)
    assert orders.size_of("tall", small) == (256, 384)


def test_re_roll_asks_for_the_same_with_another_seed(make_job: JobMaker) -> None:
    body = orders.reroll(make_job(negative_prompt="text", steps=33), Order()).to_body()
    assert body["kind"] == "generate"
    assert (body["prompt"], body["negative_prompt"]) == ("a red fox", "text")
    assert (body["width"], body["height"], body["steps"]) == (1024, 768, 33)
    assert body["seed"] != 7


def test_a_re_roll_of_a_variation_keeps_the_steps_of_its_composition(make_job: JobMaker) -> None:
    job = make_job(kind="vary_details", latent_id="LAT0", steps=33, guidance_scale=6.0)
    body = orders.reroll(job, Order()).to_body()
    assert (body["kind"], body["steps"], body["guidance_scale"]) == ("generate", 33, 6.0)


def test_try_again_asks_for_exactly_the_same(make_job: JobMaker) -> None:
    job = make_job(pictures=0, n=3, seed=7, decoder_seed=9, negative_prompt="text", steps=33)
    order = orders.again(job, None, Order(spoiler=True))
    body = order.to_body()
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
    assert order.spoiler


def test_try_again_of_a_variation_is_the_same_variation(make_job: JobMaker) -> None:
    job = make_job(pictures=0, kind="vary_details", latent_id="LAT5", seed=7, decoder_seed=9)
    order = orders.again(job, ("ORIGINAL", 2), Order())
    assert order.of == ("ORIGINAL", 2)
    assert order.to_body() == {
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
    body = orders.edit(job, form(), Order()).to_body()
    assert body["kind"] == "generate"
    assert (body["seed"], body["decoder_seed"], body["steps"]) == (7, 99, 20)


def test_one_picture_of_several_is_edited_with_its_own_seed(make_job: JobMaker) -> None:
    job = make_job(pictures=4)
    third = orders.edit(job, form(which="2", prompt="a blue fox"), Order())
    assert (third.prompt, third.seed, third.decoder_seed, third.n) == ("a blue fox", 9, 9, 1)
    every = orders.edit(job, form(which="all"), Order())
    assert (every.seed, every.n) == (7, 4)
    left = replace(job, images=job.images[1:])
    assert (orders.edit(left, form("8", which="all"), Order()).seed) == 8
    with pytest.raises(Refusal):
        orders.edit(left, form("8", which="0"), Order())


def test_a_seed_that_is_typed_into_the_form_is_used_for_details_too(make_job: JobMaker) -> None:
    job = make_job(pictures=4)
    order = orders.edit(job, form(which="2", seed="42"), Order())
    assert (order.seed, order.decoder_seed, order.n) == (42, None, 1)
    emptied = orders.edit(job, form(which="2", seed=""), Order())
    assert emptied.seed not in (None, 9)


def test_vary_starts_from_the_latent_of_the_picture_that_was_meant(make_job: JobMaker) -> None:
    body = orders.vary(make_job(pictures=2), 1, Order()).to_body()
    assert body["kind"] == "vary_details"
    assert body["latent_id"] == "LAT1"
    assert not {"prompt", "width", "seed", "steps"} & body.keys()


def test_varying_a_deleted_picture_is_refused(make_job: JobMaker) -> None:
    job = make_job(pictures=2)
    job = replace(job, images=job.images[:1])
    with pytest.raises(Refusal):
        orders.vary(job, 1, Order())


def test_sizes_and_seeds_are_read_as_people_write_them() -> None:
    assert orders.parse_size(" 1024 X 768 ") == (1024, 768)
    assert orders.parse_size("") is None
    assert orders.parse_seed(" 42 ") == 42
    assert 0 <= orders.parse_seed("") < 2**32
    for wrong in ("big", "1024", "1024x"):
        with pytest.raises(Refusal):
            orders.parse_size(wrong)
    for wrong in ("-1", "x", str(2**32), "²"):
        with pytest.raises(Refusal):
            orders.parse_seed(wrong)


def test_what_cannot_be_seen_alone_is_no_prompt() -> None:
    with pytest.raises(Refusal):
        orders.check_prompt(" \u200d\u200c ")


def test_a_size_that_is_none_formats_nothing_where_it_is_told(voice: Voice) -> None:
    with pytest.raises(Refusal) as caught:
        orders.parse_size("[a](http://x)")
    assert r"\[a\]" in sentence(caught.value, voice, "")
