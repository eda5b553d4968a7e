"""Operations: what a client may choose, what a latent fixes, and what is filled in."""

from __future__ import annotations

from typing import get_args

import pytest

from cascade_core.errors import InvalidRequest, Unsupported
from cascade_core.model_defaults import ModelDefaults
from cascade_core.operations.fields import FIELDS
from cascade_core.operations.operation import Operation
from cascade_core.operations.registry import DECODE, GENERATE, OPERATIONS, VARY, VARY_DETAILS, Kind
from cascade_core.request import GenerationRequest

DEFAULTS = ModelDefaults(width=256, height=384, max_side=512, steps=12, decoder_steps=6)
SOURCE = GenerationRequest(
    prompt="a fox", width=512, height=256, seed=3, decoder_seed=4, steps=9, format="webp"
).to_dict()

operations = pytest.mark.parametrize("operation", OPERATIONS.values(), ids=list(OPERATIONS))


def test_the_registry_names_every_operation_by_its_own_name() -> None:
    assert {name: operation.name for name, operation in OPERATIONS.items()} == {
        name: name for name in get_args(Kind)
    }


@operations
def test_an_operation_takes_or_fixes_known_fields_and_none_twice(operation: Operation) -> None:
    assert {*operation.fields, *operation.fixed_by_latent} <= FIELDS.keys()
    if operation.latent_field in operation.required:
        assert not {*operation.fields} & {*operation.fixed_by_latent}
    assert {*operation.seeds} <= {*operation.fields}


def test_new_pictures_take_all_that_is_open_from_the_model() -> None:
    values = GENERATE.complete({"prompt": "a fox", "seed": 5}, DEFAULTS, None)

    request = GenerationRequest.from_dict(values)
    assert (request.kind, request.width, request.height) == ("generate", 256, 384)
    assert (request.seed, request.decoder_seed) == (5, 5)
    assert (request.steps, request.decoder_steps) == (12, 6)


def test_new_pictures_are_not_larger_than_the_model_can_draw() -> None:
    with pytest.raises(InvalidRequest, match=r"width .*between 256 and 512"):
        GENERATE.complete({"prompt": "a fox", "width": 640}, DEFAULTS, None)


@pytest.mark.parametrize("given", [{}, {"prompt": ""}, {"prompt": " \n"}, {"prompt": "\x1b[2J"}])
def test_new_pictures_need_a_prompt_of_words(given: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        GENERATE.check(given)
    assert caught.value.field == "prompt"


def test_new_pictures_start_from_no_latent() -> None:
    with pytest.raises(Unsupported) as caught:
        GENERATE.check({"prompt": "a fox", "latent_id": "01J"})
    assert caught.value.field == "latent_id"


def test_new_details_keep_all_that_the_latent_fixes() -> None:
    given = {"latent_id": "01J", "n": 3, "decoder_seed": 11}
    VARY_DETAILS.check(given)

    made = VARY_DETAILS.complete(given, DEFAULTS, SOURCE)
    request = GenerationRequest.from_dict(made)

    assert request.kind == "vary_details"
    assert {name: made[name] for name in VARY_DETAILS.fixed_by_latent} == {
        name: SOURCE[name] for name in VARY_DETAILS.fixed_by_latent
    }
    assert (request.n, request.decoder_seed, request.format) == (3, 11, "png")


@pytest.mark.parametrize("operation", [VARY, DECODE, VARY_DETAILS], ids=lambda one: one.name)
def test_what_starts_from_a_latent_needs_one_and_refuses_what_it_decides(
    operation: Operation,
) -> None:
    with pytest.raises(Unsupported, match="needs latent_id"):
        operation.check({"n": 2})
    for name in operation.fixed_by_latent:
        with pytest.raises(Unsupported, match="comes from the latent"):
            operation.check({"latent_id": "01J", name: SOURCE[name]})
    for name in FIELDS.keys() - {*operation.fields, *operation.fixed_by_latent}:
        with pytest.raises(Unsupported, match="does not go with kind"):
            operation.check({"latent_id": "01J", name: 1})


def test_a_variation_keeps_the_latents_size_prompt_and_values() -> None:
    VARY.check({"latent_id": "01J"})
    made = GenerationRequest.from_dict(VARY.complete({"latent_id": "01J"}, DEFAULTS, SOURCE))

    assert (made.kind, made.prompt, made.width, made.height) == ("vary", "a fox", 512, 256)
    assert (made.steps, made.decoder_steps) == (9, SOURCE["decoder_steps"])
    assert made.seed == made.decoder_seed != SOURCE["seed"]
    assert (made.n, made.format, made.strength) == (1, "png", 0.7)


def test_a_remix_has_its_own_prompts() -> None:
    given = {"latent_id": "01J", "prompt": "a dog", "negative_prompt": "cats", "strength": 0.85}
    VARY.check(given)
    made = GenerationRequest.from_dict(VARY.complete(given, DEFAULTS, SOURCE))
    assert (made.prompt, made.negative_prompt, made.strength) == ("a dog", "cats", 0.85)
    for refused in ({"prompt": " "}, {"negative_prompt": "\x1b"}):
        with pytest.raises(InvalidRequest):
            VARY.check({"latent_id": "01J", **refused})


@pytest.mark.parametrize(("word", "number"), [("subtle", 0.6), ("strong", 0.92)])
def test_a_word_for_the_strength_stands_for_the_models_number(word: str, number: float) -> None:
    defaults = ModelDefaults(vary={"subtle": 0.6, "strong": 0.92})
    made = VARY.complete({"latent_id": "01J", "strength": word}, defaults, SOURCE)
    assert made["strength"] == number
    with pytest.raises(InvalidRequest, match="a number or one of subtle, strong"):
        VARY.complete({"latent_id": "01J", "strength": "wild"}, defaults, SOURCE)


def test_what_starts_from_a_variations_latent_does_not_inherit_how_that_job_began() -> None:
    made = VARY.complete({"latent_id": "01J"}, DEFAULTS, SOURCE)
    for operation in (VARY_DETAILS, DECODE):
        again = operation.complete({"latent_id": "01K"}, DEFAULTS, made)
        request = GenerationRequest.from_dict(again)
        assert (request.latent_id, request.strength, request.n) == ("01K", None, 1)
        assert (request.prompt, request.seed) == ("a fox", made["seed"])


def test_a_decoding_may_have_another_size_of_the_latents_aspect() -> None:
    defaults = ModelDefaults(max_side=1024)
    given = {"latent_id": "01J", "width": 1024, "height": 512, "decoder_steps": 20}
    DECODE.check(given)
    made = GenerationRequest.from_dict(DECODE.complete(given, defaults, SOURCE))
    assert (made.kind, made.width, made.height) == ("decode", 1024, 512)
    assert (made.decoder_steps, made.seed) == (20, SOURCE["seed"])


@pytest.mark.parametrize(
    ("size", "field"),
    [
        ({"width": 384}, "width"),
        ({"height": 384}, "height"),
        ({"width": 512, "height": 512}, "height"),
        ({"width": 1024, "height": 384}, "width"),
    ],
)
def test_a_decoding_is_never_stretched(size: dict[str, int], field: str) -> None:
    defaults = ModelDefaults(max_side=1024)
    with pytest.raises(Unsupported, match="the aspect of the latent, 512x256") as caught:
        DECODE.complete({"latent_id": "01J", **size}, defaults, SOURCE)
    assert caught.value.field == field


def test_a_decoding_is_not_larger_than_the_model_can_draw() -> None:
    with pytest.raises(InvalidRequest, match=r"width .*between 256 and 512"):
        DECODE.complete({"latent_id": "01J", "width": 1024, "height": 512}, DEFAULTS, SOURCE)


def test_seeds_that_are_not_given_are_random() -> None:
    made = [VARY_DETAILS.complete({"latent_id": "01J"}, DEFAULTS, SOURCE) for _ in range(8)]
    assert len({values["decoder_seed"] for values in made}) == 8
    made = [GENERATE.complete({"prompt": "a fox"}, DEFAULTS, None) for _ in range(8)]
    assert len({values["seed"] for values in made}) == 8
