"""The template and the variants of a series, as people type them."""

from __future__ import annotations

import pytest

from bot.policy import job_request, steering
from bot.policy.job_request import JobRequest
from bot.policy.series import MAX_VARIANTS, format_variants, label_of, parse_variants
from bot.service.models import Job
from bot.text.catalog import Catalog, Translator
from bot.text.error_messages import UserError, error_message
from bot.text.markdown import MAX_PROMPT_CHARS
from cascade_core.model_defaults import ModelDefaults
from cascade_core.operations.registry import SERIES
from cascade_core.request import GenerationRequest
from tests.bot.conftest import JobMaker

ONE, TWO = "a {colour} mug", "a {colour} mug on {ground}, {{new}}"
COLOURS = [{"colour": "red"}, {"colour": "blue"}, {"colour": "dark green"}]


@pytest.mark.parametrize(
    ("template", "typed", "variants"),
    [
        (ONE, "red, blue,dark   green", COLOURS),
        (ONE, " red ;blue; dark green; ", COLOURS),
        (ONE, "red", COLOURS[:1]),
        (ONE, "red/white", [{"colour": "red/white"}]),
        (ONE, "red, shiny; blue", [{"colour": "red, shiny"}, {"colour": "blue"}]),
        (
            TWO,
            "red / oak, blue/wet sand",
            [{"colour": "red", "ground": "oak"}, {"colour": "blue", "ground": "wet sand"}],
        ),
    ],
)
def test_pictures_are_separated_by_commas_or_semicolons_and_their_values_by_slashes(
    template: str, typed: str, variants: list[dict[str, str]]
) -> None:
    assert parse_variants(template, typed) == variants
    assert parse_variants(template, format_variants(template, variants)) == variants


def test_variants_that_cannot_be_typed_have_no_text() -> None:
    assert format_variants(ONE, [{"colour": "red; blue"}]) == ""
    assert format_variants(TWO, [{"colour": "red/blue", "ground": "oak"}]) == ""


def test_a_picture_is_told_from_the_others_by_its_values() -> None:
    assert label_of(TWO, {"ground": "oak", "colour": "red"}) == "red / oak"


@pytest.mark.parametrize("language", ["en", "de", "fr"])
@pytest.mark.parametrize(
    ("template", "typed", "said"),
    [
        ("a mug", "red, blue", "{"),
        ("a {colour mug", "red, blue", "{"),
        ("a {} mug", "red, blue", "{"),
        (ONE, ", ,", str(MAX_VARIANTS)),
        (ONE, ", ".join("abcdefghijk"), "11"),
        (TWO, "red / oak, blue", "blue"),
        (TWO, "red / oak / big, blue / oak", "colour / ground"),
        (TWO, "red /, blue / oak", "red /"),
        (ONE, "x" * MAX_PROMPT_CHARS, str(MAX_PROMPT_CHARS)),
    ],
)
def test_what_makes_no_series_is_refused_with_what_there_is(
    catalog: Catalog, language: str, template: str, typed: str, said: str
) -> None:
    with pytest.raises(UserError) as caught:
        parse_variants(template, typed)
    told = error_message(caught.value, Translator(catalog, language), "")
    assert said in told
    assert "{{" not in told
    assert len(told) < 400


@pytest.fixture
def series(make_job: JobMaker) -> Job:
    """Three pictures that vary the first one."""
    return make_job(3, kind="series", prompt=ONE, variants=COLOURS, strength=0.6, steps=33)


def service_request(request: JobRequest) -> GenerationRequest:
    """Return what the service makes of a request without a hero."""
    body = request.to_body()
    assert body.pop("kind") == "series"
    SERIES.check(body)
    return GenerationRequest.from_dict(SERIES.complete(body, ModelDefaults(), None))


def test_try_again_and_re_roll_ask_for_the_whole_series(series: Job) -> None:
    again = service_request(job_request.again(series, None, JobRequest()))
    assert (again.prompt, again.variants, again.strength) == (ONE, COLOURS, 0.6)
    assert (again.seed, again.steps, again.width, again.height) == (7, 33, 1024, 768)
    other = service_request(job_request.reroll(series, None, JobRequest()))
    assert (other.variants, other.width) == (COLOURS, 1024)
    assert other.seed != 7
    assert other.decoder_seed == other.seed


def test_a_series_that_kept_a_picture_keeps_it_again(make_job: JobMaker) -> None:
    job = make_job(3, kind="series", prompt=ONE, variants=COLOURS, strength=0.6, latent_id="HERO")
    body = job_request.again(job, ("JOB", 1), JobRequest()).to_body()
    assert body["hero"] == "HERO"
    assert not {"width", "height", "latent_id", "n", "prompt"} & body.keys()
    SERIES.check({name: value for name, value in body.items() if name != "kind"})


def test_what_is_made_of_one_picture_has_its_prompt(series: Job) -> None:
    varied = steering.vary_composition(series, 1, "subtle", JobRequest())
    finer = steering.finer(series, 2, JobRequest())
    details = job_request.vary(series, 1, JobRequest())
    made = [(one.prompt, one.latent_id, one.n) for one in (varied, finer, details)]
    assert made == [
        ("a blue mug", "LAT1", 1),
        ("a dark green mug", "LAT2", 1),
        ("a blue mug", "LAT1", 1),
    ]
    assert varied.to_body()["prompt"] == "a blue mug"
    assert "variants" not in varied.to_body()
