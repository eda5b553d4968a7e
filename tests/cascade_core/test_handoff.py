from dataclasses import asdict, replace
from typing import Any, Literal

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade_core import wire
from cascade_core.errors import HandoffInvalid, WireError
from cascade_core.geometry import Geometry
from cascade_core.handoff import (
    ModelRef,
    StageBLatent,
    StageCLatent,
    Tensor,
    WuerstchenLatent,
)
from cascade_core.request import GenerationRequest

Kind = Literal["c", "b", "w"]
Latent = StageCLatent | StageBLatent | WuerstchenLatent
CLASSES: dict[Kind, type[Latent]] = {
    "c": StageCLatent,
    "b": StageBLatent,
    "w": WuerstchenLatent,
}
DTYPES = ["float32", "float16", "bfloat16"]
MODEL = ModelRef("demo", "1", "ab" * 32)
kinds = pytest.mark.parametrize("kind", CLASSES)


def tensor(dtype: str, *shape: int, seed: int = 0) -> Tensor:
    values = np.random.default_rng(seed).standard_normal(shape, np.float32)
    if dtype == "bfloat16":
        return Tensor(dtype, (values.view(np.uint32) >> 16).astype(np.uint16))
    return Tensor(dtype, values.astype(dtype))


def request(height: int = 256, width: int = 384, **changes: Any) -> GenerationRequest:
    body = {"prompt": "frog \N{FROG FACE}", "seed": 1, "decoder_seed": 2, **changes}
    return GenerationRequest(height=height, width=width, **body)


def stage_c(dtype: str = "bfloat16", height: int = 256, width: int = 384) -> StageCLatent:
    geometry = Geometry()
    return StageCLatent(
        latents_chw=tensor(dtype, 16, *geometry.stage_c_hw(height, width)),
        pooled=tensor(dtype, 1, 32, seed=1),
        negative_pooled=tensor(dtype, 1, 32, seed=2),
        geometry=geometry,
        model=MODEL,
        request=request(height, width),
    )


def stage_b(dtype: str = "bfloat16", height: int = 256, width: int = 384) -> StageBLatent:
    geometry = Geometry()
    return StageBLatent(
        latents_chw=tensor(dtype, 4, *geometry.stage_b_hw(geometry.stage_c_hw(height, width))),
        geometry=geometry,
        model=MODEL,
        request=request(height, width, kind="vary_details", latent_id="01J"),
    )


def wuerstchen(dtype: str = "bfloat16", height: int = 256, width: int = 384) -> WuerstchenLatent:
    geometry = Geometry()
    return WuerstchenLatent(
        latents_chw=tensor(dtype, 16, *geometry.stage_c_hw(height, width)),
        factor=42.0,
        offset=1.0,
        geometry=geometry,
        model=MODEL,
        request=request(height, width),
    )


def latent(kind: Kind) -> Latent:
    return {"c": stage_c, "b": stage_b, "w": wuerstchen}[kind]()  # type: ignore[operator]


def same_tensor(left: Tensor, right: Tensor) -> bool:
    return left.dtype == right.dtype and np.array_equal(left.array, right.array)


sides = st.integers(2, 16).map(lambda cells: cells * 128)
dtypes = st.sampled_from(DTYPES)


@given(dtypes, sides, sides)
def test_a_stage_c_latent_survives_its_bytes(dtype: str, height: int, width: int) -> None:
    original = stage_c(dtype, height, width)
    decoded = StageCLatent.decode(original.encode())

    for name in ("latents_chw", "pooled", "negative_pooled"):
        assert same_tensor(getattr(decoded, name), getattr(original, name))
    for name in ("geometry", "model", "request"):
        assert getattr(decoded, name) == getattr(original, name)


@given(dtypes, sides, sides)
def test_a_stage_b_latent_survives_its_bytes(dtype: str, height: int, width: int) -> None:
    original = stage_b(dtype, height, width)
    decoded = StageBLatent.decode(original.encode())

    assert same_tensor(decoded.latents_chw, original.latents_chw)
    for name in ("geometry", "model", "request"):
        assert getattr(decoded, name) == getattr(original, name)


@given(dtypes, sides, sides, st.floats(allow_nan=False, allow_infinity=False))
def test_a_composition_of_wuerstchen_survives_its_bytes(
    dtype: str, height: int, width: int, factor: float
) -> None:
    original = replace(wuerstchen(dtype, height, width), factor=factor)
    decoded = WuerstchenLatent.decode(original.encode())

    assert same_tensor(decoded.latents_chw, original.latents_chw)
    for name in ("factor", "offset", "geometry", "model", "request"):
        assert getattr(decoded, name) == getattr(original, name)


@pytest.mark.parametrize("name", ["factor", "offset"])
@pytest.mark.parametrize("value", [None, True, float("nan"), float("inf"), "x", b"x", [], {}])
def test_a_scaling_that_is_no_finite_number_is_refused(name: str, value: object) -> None:
    with pytest.raises(HandoffInvalid, match="factor and offset"):
        decode_body("w", body_of(wuerstchen()) | {name: value})


@pytest.mark.parametrize("shape", [(16, 6, 10), (6, 9), (1, 16, 6, 9)])
def test_compositions_of_wuerstchen_must_fit_the_image_size(shape: tuple[int, ...]) -> None:
    with pytest.raises(HandoffInvalid, match="384x256"):
        replace(wuerstchen(), latents_chw=tensor("float32", *shape))


def test_a_sliced_array_travels_by_its_values() -> None:
    array = np.arange(64, dtype=np.float32).reshape(8, 8)[::2, ::2]

    assert same_tensor(
        Tensor.from_body(Tensor("float32", array).to_body()), Tensor("float32", array)
    )


def test_the_decoded_array_shares_the_message() -> None:
    assert not StageBLatent.decode(stage_b().encode()).latents_chw.array.flags.owndata


@pytest.mark.parametrize(
    ("dtype", "array"),
    [
        ("float64", np.zeros(3)),
        ("int8", np.zeros(3, np.int8)),
        ("float32", np.zeros(3, np.float16)),
        ("float32", np.zeros(3, ">f4")),
        ("bfloat16", np.zeros(3, np.float32)),
        ("bfloat16", np.zeros(3, np.int16)),
    ],
)
def test_arrays_of_another_dtype_are_no_tensors(dtype: str, array: Any) -> None:
    with pytest.raises(HandoffInvalid):
        Tensor(dtype, array)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", DTYPES)
def test_values_that_are_not_finite_are_no_tensors(dtype: str, value: float) -> None:
    array = np.zeros((2, 2), np.float32)
    array[1, 0] = value
    if dtype == "bfloat16":
        array = (array.view(np.uint32) >> 16).astype(np.uint16)  # type: ignore[assignment]

    with pytest.raises(HandoffInvalid, match="NaN or infinity"):
        Tensor(dtype, array.astype(array.dtype if dtype == "bfloat16" else dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_largest_finite_values_are_taken(dtype: str) -> None:
    bits = {"float32": 0x7F7FFFFF, "float16": 0x7BFF, "bfloat16": 0xFF7F}[dtype]
    storage = np.uint32 if dtype == "float32" else np.uint16
    array = np.array([bits], storage)

    assert Tensor(dtype, array if dtype == "bfloat16" else array.view(dtype)).is_finite()


@pytest.mark.parametrize("shape", [(16, 6, 10), (16, 9, 6), (6, 9), (1, 16, 6, 9)])
def test_stage_c_latents_must_fit_the_image_size(shape: tuple[int, ...]) -> None:
    good = stage_c()
    assert good.latents_chw.shape == (16, 6, 9)

    with pytest.raises(HandoffInvalid, match="384x256"):
        rebuilt(good, latents_chw=tensor("float32", *shape))


@pytest.mark.parametrize("shape", [(4, 64, 95), (4, 96, 64), (64, 96), (1, 4, 64, 96)])
def test_stage_b_latents_must_fit_the_image_size(shape: tuple[int, ...]) -> None:
    with pytest.raises(HandoffInvalid, match="384x256"):
        rebuilt(stage_b(), latents_chw=tensor("float32", *shape))


@pytest.mark.parametrize(
    "changes",
    [
        {"pooled": tensor("float32", 2, 32)},
        {"pooled": tensor("float32", 32)},
        {"negative_pooled": tensor("float32", 1, 1, 32)},
        {"pooled": tensor("float32", 1, 16)},
        {"request": request(n=2)},
    ],
    ids=["two rows", "no row", "three dimensions", "other length", "two images"],
)
def test_stage_c_latents_keep_their_other_invariants(changes: dict[str, Any]) -> None:
    with pytest.raises(HandoffInvalid):
        rebuilt(stage_c(), **changes)


def rebuilt(original: Any, **changes: Any) -> Any:
    names = [name for name in ("pooled", "negative_pooled") if hasattr(original, name)]
    names += ["latents_chw", "geometry", "model", "request"]
    return type(original)(**{name: getattr(original, name) for name in names} | changes)


@pytest.mark.parametrize("value", [7, b"demo", None, "x" * 2000])
def test_a_model_is_named_by_short_texts(value: Any) -> None:
    with pytest.raises(HandoffInvalid):
        ModelRef(value, "1", "ab")


@kinds
def test_hand_offs_are_not_mistaken_for_each_other(kind: Kind) -> None:
    for other in CLASSES.keys() - {kind}:
        with pytest.raises(WireError, match="expected"):
            CLASSES[other].decode(latent(kind).encode())


BAD_VALUES = [None, True, -1, 0, 2**64 - 1, 0.5, float("nan"), float("inf"), "x", b"x", [], [1], {}]


def body_of(original: Latent) -> dict[str, Any]:
    return wire.unpack(original.KIND, original.encode())


def decode_body(kind: Kind, body: dict[str, Any]) -> Latent:
    cls = CLASSES[kind]
    message = {"v": wire.WIRE_VERSION, "kind": cls.KIND, "body": body}
    return cls.decode(bytes(msgpack.packb(message)))


@kinds
@pytest.mark.parametrize("part", ["latents_chw", "geometry", "model", "request"])
@pytest.mark.parametrize("value", BAD_VALUES, ids=repr)
def test_a_part_of_the_wrong_type_is_refused(kind: Kind, part: str, value: object) -> None:
    with pytest.raises(HandoffInvalid):
        decode_body(kind, body_of(latent(kind)) | {part: value})


@pytest.mark.parametrize(
    ("part", "name"),
    [("latents_chw", name) for name in ("dtype", "shape", "data")]
    + [("geometry", name) for name in asdict(Geometry())]
    + [("model", name) for name in asdict(MODEL)],
)
def test_a_value_of_the_wrong_type_is_refused(part: str, name: str) -> None:
    for value in BAD_VALUES:
        body = body_of(stage_c())
        if part == "model" and isinstance(value, str):
            continue
        with pytest.raises(HandoffInvalid):
            decode_body("c", body | {part: body[part] | {name: value}})


@kinds
@pytest.mark.parametrize("part", ["latents_chw", "geometry", "model", "request", None])
def test_fields_are_neither_left_out_nor_added(kind: Kind, part: str | None) -> None:
    body = body_of(latent(kind))
    fields = body[part] if part else body
    required = "width" if part == "request" else next(iter(fields))
    changes = [{k: v for k, v in fields.items() if k != required}]
    if part != "request":  # which a later release may have stored with more
        changes.append(fields | {"more": 1})
    for changed in changes:
        with pytest.raises(HandoffInvalid):
            decode_body(kind, body | {part: changed} if part else changed)


@kinds
def test_fields_of_a_request_that_a_later_release_added_are_left_out(kind: Kind) -> None:
    body = body_of(latent(kind))
    more = decode_body(kind, body | {"request": body["request"] | {"more": 1}})
    assert more.request == latent(kind).request


@pytest.mark.parametrize(
    "shape", [[], [16, 6, 8], [0], [-864], [2**40, 0], [1, 1, 1, 16, 6, 9], [864.0]]
)
def test_a_shape_that_does_not_fit_its_bytes_is_refused(shape: list[Any]) -> None:
    body = body_of(stage_c())

    with pytest.raises(HandoffInvalid):
        decode_body("c", body | {"latents_chw": body["latents_chw"] | {"shape": shape}})


@given(st.binary(max_size=300), st.sampled_from(list(CLASSES)))
def test_arbitrary_bytes_raise_only_our_errors(data: bytes, kind: Kind) -> None:
    with pytest.raises(WireError):
        CLASSES[kind].decode(data)


SMALL: dict[Kind, bytes] = {kind: latent(kind).encode() for kind in CLASSES}


@given(st.sampled_from(list(CLASSES)), st.data())
def test_mutated_messages_decode_or_raise_only_our_errors(kind: Kind, data: st.DataObject) -> None:
    message = bytearray(SMALL[kind])
    # All that is not array data lies within the first and last kilobyte.
    near_an_end = st.integers(0, 1000) | st.integers(len(message) - 1000, len(message) - 1)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(near_an_end)
        message[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    try:
        decoded = CLASSES[kind].decode(bytes(message))
    except WireError:
        return

    assert decoded.latents_chw.is_finite()
    assert decoded.encode()


plain = st.recursive(
    st.sampled_from([value for value in BAD_VALUES if not isinstance(value, list | dict)])
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


@given(st.sampled_from(list(CLASSES)), st.data())
def test_any_replaced_field_decodes_or_raises_only_our_errors(
    kind: Kind, data: st.DataObject
) -> None:
    body = body_of(latent(kind))
    part = data.draw(st.sampled_from(sorted(n for n, one in body.items() if isinstance(one, dict))))
    name = data.draw(st.sampled_from(sorted(body[part])))
    body[part][name] = data.draw(plain)
    try:
        decode_body(kind, body)
    except WireError:
        return
