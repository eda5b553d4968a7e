from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgpack
import numpy as np
import pytest
import torch

from cascade_core.errors import HandoffInvalid, WireError
from cascade_core.handoff import ModelRef, Tensor
from cascade_core.request import GenerationRequest
from cascade_core.stages.tensors import from_handoff, named_tensors
from cascade_core.tensor_handoff import MAX_TENSORS, NamedTensors

MODEL = ModelRef("tiny", "1", "ab" * 32)
REQUEST = GenerationRequest(prompt="a fox", width=256, height=256, seed=1, decoder_seed=2)
VALUES = {
    "latents": torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0)),
    "narrow": torch.randn(1, 6, 3, generator=torch.Generator().manual_seed(1)).bfloat16(),
    "latent_ids": torch.arange(24).reshape(1, 6, 4) - 3,
}


def made(**changes: Any) -> NamedTensors:
    values = {"made_by": "d", "tensors": named_tensors(VALUES), "model": MODEL, "request": REQUEST}
    return NamedTensors(**(values | changes))


def test_every_tensor_survives_the_bytes_bit_for_bit() -> None:
    decoded = NamedTensors.decode(made().encode())

    assert (decoded.made_by, decoded.model, decoded.request) == ("d", MODEL, REQUEST)
    assert list(decoded.tensors) == list(VALUES)
    for name, value in VALUES.items():
        back = from_handoff(decoded.tensor(name), torch.device("cpu"), value.dtype)
        assert torch.equal(back, value)
        assert back.dtype == value.dtype


@pytest.mark.parametrize(
    "changes",
    [
        {"made_by": "Stage D"},
        {"made_by": 7},
        {"tensors": {}},
        {"tensors": {f"t{i}": Tensor("int64", np.zeros(1, "<i8")) for i in range(MAX_TENSORS + 1)}},
        {"tensors": {"Latents": Tensor("int64", np.zeros(1, "<i8"))}},
        {"request": replace(REQUEST, n=2)},
    ],
    ids=["stage", "number", "no tensor", "too many", "name", "two images"],
)
def test_a_hand_off_keeps_its_invariants(changes: dict[str, Any]) -> None:
    with pytest.raises(HandoffInvalid):
        made(**changes)


@pytest.mark.parametrize("value", [None, 3, [VALUES["latents"]], VALUES["latents"].double()])
def test_what_is_no_tensor_of_a_known_dtype_is_not_handed_off(value: object) -> None:
    with pytest.raises(HandoffInvalid, match="extra is"):
        named_tensors({"latents": VALUES["latents"], "extra": value})


def test_a_tensor_that_is_not_there_is_named() -> None:
    with pytest.raises(HandoffInvalid, match="stage d has no noise"):
        made().tensor("noise")


def test_a_hand_off_of_more_than_a_message_holds_is_refused() -> None:
    large = Tensor("float32", np.zeros((2048, 2049), "<f4"))

    with pytest.raises(WireError, match="limit"):
        made(tensors={"latents": large}).encode()


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body.pop("model"),
        lambda body: body.update(more=1),
        lambda body: body.update(tensors=[]),
        lambda body: body["tensors"].update(latents=b""),
        lambda body: body["request"].pop("seed"),
        lambda body: body["tensors"]["latent_ids"].update(dtype="object"),
    ],
    ids=["no model", "another field", "a list", "no tensor", "no request", "another dtype"],
)
def test_a_message_with_other_contents_is_refused(change: Any) -> None:
    message = msgpack.unpackb(made().encode())
    change(message["body"])

    with pytest.raises(HandoffInvalid):
        NamedTensors.decode(msgpack.packb(message))
