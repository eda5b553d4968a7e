from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade_core.errors import CascadeError, InvalidRequest, Unsupported
from cascade_core.operations.fields import MAX_SEED
from cascade_core.request import GenerationRequest

BASE: dict[str, Any] = {
    "prompt": "a red circle",
    "width": 512,
    "height": 256,
    "seed": 7,
    "decoder_seed": 9,
}
sides = st.integers(2, 16).map(lambda cells: cells * 128)
seeds = st.integers(0, MAX_SEED)
steps = st.integers(1, 100)
scales = st.floats(0, 20)
prompts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
ids = st.from_regex(r"[A-Za-z0-9_.-]{1,64}", fullmatch=True)
requests = st.builds(
    GenerationRequest,
    prompt=prompts,
    negative_prompt=prompts,
    width=sides,
    height=sides,
    n=st.integers(1, 8),
    seed=seeds,
    steps=steps,
    guidance_scale=scales,
    decoder_seed=seeds,
    decoder_steps=steps,
    decoder_guidance_scale=scales,
    format=st.sampled_from(["png", "webp", "jpeg"]),
) | st.builds(
    GenerationRequest,
    **{k: st.just(v) for k, v in BASE.items()},
    latent_id=ids,
    kind=st.just("vary_details"),
)


def request(**changes: Any) -> GenerationRequest:
    return GenerationRequest(**(BASE | changes))


@pytest.mark.parametrize("field", sorted(request().to_dict()))
@pytest.mark.parametrize(
    "value", [True, b"png", [], {}, object()], ids=lambda value: repr(type(value))
)
def test_values_of_another_type_are_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(InvalidRequest) as caught:
        request(**{field: value})

    assert caught.value.field == field


@pytest.mark.parametrize(
    "changes", [{"kind": "vary_details"}, {"kind": "generate", "latent_id": "01J"}]
)
def test_latent_id_and_vary_details_go_together(changes: dict[str, Any]) -> None:
    with pytest.raises(Unsupported) as caught:
        request(**changes)

    assert caught.value.field == "latent_id"


@given(requests)
def test_a_request_survives_its_dict(original: GenerationRequest) -> None:
    assert GenerationRequest.from_dict(original.to_dict()) == original


@pytest.mark.parametrize("name", ["stepz", 5, None, b"steps", "x" * 500])
def test_an_unknown_field_is_named(name: object) -> None:
    with pytest.raises(InvalidRequest, match="unknown field") as caught:
        GenerationRequest.from_dict({**BASE, name: 1})  # type: ignore[dict-item]

    assert caught.value.field == str(name)[:40]


@pytest.mark.parametrize("name", sorted(BASE))
def test_a_missing_field_is_named(name: str) -> None:
    body = {key: value for key, value in BASE.items() if key != name}

    with pytest.raises(InvalidRequest, match=f"{name} is missing") as caught:
        GenerationRequest.from_dict(body)

    assert caught.value.field == name


plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()


@given(st.dictionaries(st.sampled_from(sorted(request().to_dict())), plain) | plain)
def test_any_body_is_taken_or_refused_with_our_errors(body: Any) -> None:
    try:
        GenerationRequest.from_dict(BASE | body if isinstance(body, dict) else body)
    except CascadeError as error:
        assert isinstance(error, InvalidRequest | Unsupported)  # noqa: PT017


@given(seeds, seeds, st.integers(0, 7))
def test_each_image_has_its_own_seeds(seed: int, decoder_seed: int, index: int) -> None:
    image = request(seed=seed, decoder_seed=decoder_seed, n=8).for_image(index)

    assert image.n == 1
    assert image.seed == (seed + index) % 2**32
    assert image.decoder_seed == (decoder_seed + index) % 2**32


def test_seeds_wrap_at_the_largest() -> None:
    image = request(seed=MAX_SEED, decoder_seed=MAX_SEED - 1, n=3).for_image(2)

    assert (image.seed, image.decoder_seed) == (1, 0)


def test_varied_images_keep_the_seed_of_their_shared_latent() -> None:
    job = request(kind="vary_details", latent_id="01J", seed=5, decoder_seed=5, n=3)

    assert [(job.for_image(i).seed, job.for_image(i).decoder_seed) for i in range(3)] == [
        (5, 5),
        (5, 6),
        (5, 7),
    ]


def test_the_first_image_of_a_single_image_job_is_the_job_itself() -> None:
    assert request().for_image(0) == request()


@pytest.mark.parametrize(
    "changes",
    [{"kind": "vary", "latent_id": "x"}, {"strength": 0.5},
     {"kind": "decode", "latent_id": "x", "strength": 0.5}],
)  # fmt: skip
def test_strength_goes_with_the_kinds_that_offer_it(changes: dict[str, Any]) -> None:
    with pytest.raises(Unsupported) as caught:
        request(**changes)
    assert caught.value.field == "strength"


@pytest.mark.parametrize("strength", [-0.1, 1.01, float("nan"), True, "subtle"])
def test_a_strength_is_a_number_from_0_to_1(strength: object) -> None:
    with pytest.raises(InvalidRequest, match="strength must be a number between 0 and 1"):
        request(kind="vary", latent_id="x", strength=strength)


@pytest.mark.parametrize(
    ("steps", "strength", "expected"),
    [(20, 1, 20), (20, 0.7, 14), (20, 0.55, 11), (20, 0.56, 12), (20, 1e-9, 1), (1, 0.3, 1),
     (20, 0, 0), (100, 0.07, 7)],
)  # fmt: skip
def test_the_steps_that_run_are_those_below_the_strength_rounded_up(
    steps: int, strength: float, expected: int
) -> None:
    made = request(kind="vary", latent_id="x", steps=steps, strength=strength)
    assert made.composing_steps == expected


def test_new_pictures_start_from_noise_alone_and_run_all_steps() -> None:
    made = request(steps=13)
    assert (made.start_time, made.composing_steps) == (1.0, 13)


def test_images_of_a_variation_have_seeds_of_their_own() -> None:
    job = request(kind="vary", latent_id="x", strength=0.5, seed=5, decoder_seed=9, n=2)
    assert [(job.for_image(i).seed, job.for_image(i).decoder_seed) for i in range(2)] == [
        (5, 9),
        (6, 10),
    ]


def test_requests_stored_before_there_was_a_strength_still_read() -> None:
    stored = request().to_dict()
    del stored["strength"]
    assert GenerationRequest.from_stored(stored) == request()
    assert GenerationRequest.from_dict(stored) == request()
