"""Random components have the published shapes, on the device and in the dtype asked for."""

from __future__ import annotations

import pytest
import torch

from bench.published import SCALES, WEIGHTS, letter_tokenizer, random_component

META = torch.device("meta")
PARAMETERS = {
    ("full", "prior"): 3_589_103_632,
    ("lite", "prior"): 1_030_785_040,
    ("full", "decoder"): 1_562_941_136,
    ("lite", "decoder"): 699_471_248,
    ("full", "vqgan"): 18_406_894,
    ("full", "text_encoder"): 694_659_840,
}


@pytest.mark.parametrize(("size", "name"), PARAMETERS)
def test_components_have_the_published_numbers_of_parameters(size: str, name: str) -> None:
    component = random_component(SCALES[size], name, META, torch.bfloat16)
    assert sum(one.numel() for one in component.parameters()) == PARAMETERS[size, name]
    assert {one.dtype for one in component.parameters()} == {torch.bfloat16}
    assert {one.device for one in (*component.parameters(), *component.buffers())} == {META}


@pytest.mark.parametrize("name", [name for name in WEIGHTS if name != "text_encoder"])
def test_no_branch_of_a_random_component_is_switched_off_by_zeros(name: str) -> None:
    component = random_component(SCALES["tiny"], name, torch.device("cpu"), torch.float32)
    zeros = [
        parameter_name
        for parameter_name, parameter in component.named_parameters()
        if not parameter.any() and not parameter_name.startswith("down_blocks.3.1")  # a batch norm
    ]
    assert zeros == []


def test_the_tokenizer_fills_the_vocabulary_and_pads_as_the_published_one() -> None:
    tokenizer = letter_tokenizer(SCALES["full"])
    tokens = tokenizer("a fox", padding="max_length").input_ids
    assert len(tokenizer) == 49408
    assert (tokens[0], tokens[-1], len(tokens)) == (49406, 49407, 77)
