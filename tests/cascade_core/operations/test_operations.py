"""Operations: what a client may choose, what a latent fixes, and what is filled in."""

from __future__ import annotations

from typing import get_args

import pytest

from cascade_core.errors import InvalidRequest, Unsupported
from cascade_core.model_defaults import ModelDefaults
from cascade_core.operations.fields import FIELDS
from cascade_core.operations.operation import Operation
from cascade_core.operations.registry import GENERATE, OPERATIONS, VARY_DETAILS, Kind
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

    assert GenerationRequest.from_dict(made).kind == "vary_details"
    assert {name: made[name] for name in VARY_DETAILS.fixed_by_latent} == {
        name: SOURCE[name] for name in VARY_DETAILS.fixed_by_latent
    }
    assert (made["n"], made["decoder_seed"], made["format"]) == (3, 11, "png")


@pytest.mark.parametrize("name", VARY_DETAILS.fixed_by_latent)
def test_new_details_change_nothing_that_the_latent_fixes(name: str) -> None:
    with pytest.raises(Unsupported, match="comes from the latent") as caught:
        VARY_DETAILS.check({"latent_id": "01J", name: SOURCE[name]})
    assert caught.value.field == name


def test_new_details_need_a_latent() -> None:
    with pytest.raises(Unsupported, match="needs latent_id"):
        VARY_DETAILS.check({"n": 2})


def test_seeds_that_are_not_given_are_random() -> None:
    made = [VARY_DETAILS.complete({"latent_id": "01J"}, DEFAULTS, SOURCE) for _ in range(8)]
    assert len({values["decoder_seed"] for values in made}) == 8
    made = [GENERATE.complete({"prompt": "a fox"}, DEFAULTS, None) for _ in range(8)]
    assert len({values["seed"] for values in made}) == 8
