"""The limits of every field of a request, as the errors name them."""

from dataclasses import fields

import pytest

from cascade_core.errors import InvalidRequest
from cascade_core.model_defaults import ModelDefaults
from cascade_core.operations.fields import FIELDS, MAX_SIDE_PX, check_side
from cascade_core.request import GenerationRequest
from tests.cascade_core.test_request import request


def test_a_model_that_states_no_largest_side_takes_the_largest_of_a_request() -> None:
    assert ModelDefaults().max_side == MAX_SIDE_PX


@pytest.mark.parametrize(
    ("field", "low", "high", "step"),
    [
        ("width", 256, 2048, 128),
        ("height", 256, 2048, 128),
        ("n", 1, 8, 1),
        ("seed", 0, 2**32 - 1, 1),
        ("decoder_seed", 0, 2**32 - 1, 1),
        ("steps", 1, 100, 1),
        ("decoder_steps", 1, 100, 1),
        ("guidance_scale", 0, 20, 0.5),
        ("decoder_guidance_scale", 0, 20, 0.5),
    ],
)
def test_each_number_has_a_range_that_the_error_names(
    field: str, low: float, high: float, step: float
) -> None:
    assert getattr(request(**{field: low}), field) == low
    assert getattr(request(**{field: high}), field) == high

    for value in (low - step, high + step, 10**400, -(10**400), float("nan"), float("inf")):
        with pytest.raises(InvalidRequest, match=f"{field} .*{low} and {high}") as caught:
            request(**{field: value})
        assert caught.value.field == field


@pytest.mark.parametrize("side_px", [257, 320, 500, 2047])
def test_sides_between_the_multiples_are_refused(side_px: int) -> None:
    with pytest.raises(InvalidRequest, match="height must be a multiple of 128") as caught:
        request(height=side_px)

    assert caught.value.field == "height"


def test_a_model_may_allow_less_than_the_largest_side() -> None:
    check_side("width", 512, 512)

    with pytest.raises(InvalidRequest, match=r"width .*between 256 and 512"):
        check_side("width", 640, 512)


@pytest.mark.parametrize("field", ["prompt", "negative_prompt"])
@pytest.mark.parametrize("text", ["x" * 2001, "half of \ud83d", "a\0b"])
def test_prompts_that_cannot_be_stored_are_refused(field: str, text: str) -> None:
    with pytest.raises(InvalidRequest, match=field) as caught:
        request(**{field: text})

    assert caught.value.field == field


def test_prompts_up_to_the_limit_are_taken_in_any_language() -> None:
    assert request(prompt="\N{FROG FACE}" * 2000).prompt.startswith("\N{FROG FACE}")
    assert request(prompt="").prompt == ""


@pytest.mark.parametrize("latent_id", ["", "x" * 65, "../up", "a b", "ä", "a\n"])
def test_latent_ids_that_are_no_ids_are_refused(latent_id: str) -> None:
    with pytest.raises(InvalidRequest, match="latent_id"):
        request(kind="vary_details", latent_id=latent_id)


def test_every_value_of_a_request_has_limits() -> None:
    own = {field.name for field in fields(GenerationRequest)}
    assert own <= FIELDS.keys() | {"kind", "model"}
    assert FIELDS.keys() - own == {"template", "hero"}  # kept as its prompt and its latent_id
