"""Our text model against that of transformers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from cascade_core.models.clip import ClipStatesModel, ClipTextConfig, ClipTextModel

BASE: dict[str, Any] = {
    "vocab_size": 60,
    "hidden_size": 48,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 16,
    "projection_dim": 40,
    "bos_token_id": 58,
    "eos_token_id": 59,
    "pad_token_id": 59,
}
BEGIN, END = 58, 59


def make_both(**config: Any) -> tuple[Any, ClipTextModel]:
    torch.manual_seed(5)
    stock = CLIPTextModelWithProjection(CLIPTextConfig(**(BASE | config))).eval()
    stock.requires_grad_(False)
    ours = ClipTextModel(ClipTextConfig.read(stock.config.to_dict())).requires_grad_(False)
    assert ours.compare(stock.state_dict()) == (set(), [])
    ours.fill(stock.state_dict().items())
    return stock, ours


def check_equal(stock: Any, ours: ClipTextModel, tokens: list[int], padding: int) -> None:
    ids = torch.tensor([tokens + [END] * padding])
    mask = torch.tensor([[1] * len(tokens) + [0] * padding])
    expected = stock(ids, attention_mask=mask, output_hidden_states=True)
    hidden, pooled = ours(ids, mask)
    assert torch.equal(hidden, expected.hidden_states[-1])
    assert torch.equal(pooled, expected.text_embeds)


@pytest.mark.parametrize("padding", [0, 1, 9])
@pytest.mark.parametrize(
    "config",
    [
        {},
        {"hidden_act": "gelu"},
        {"layer_norm_eps": 1e-3},
        {"eos_token_id": 2},
        {"num_attention_heads": 1, "num_hidden_layers": 1},
    ],
)
def test_embeddings_equal_those_of_transformers(config: dict[str, Any], padding: int) -> None:
    check_equal(*make_both(**config), [BEGIN, 7, 3, 21, 3, END], padding)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_equals_that_of_transformers(dtype: torch.dtype) -> None:
    stock, ours = make_both()
    check_equal(stock.to(dtype), ours.to(dtype), [BEGIN, 7, END], 5)


@pytest.mark.parametrize("eos_token_id", [END, 2])
@pytest.mark.parametrize("prefix", ["", "text_model."])
def test_states_without_a_projection_equal_those_of_transformers(
    prefix: str, eos_token_id: int
) -> None:
    torch.manual_seed(5)
    stock = CLIPTextModel(CLIPTextConfig(**(BASE | {"eos_token_id": eos_token_id}))).eval()
    stock.requires_grad_(False)
    weights = {prefix + name: weight for name, weight in stock.state_dict().items()}
    weights[f"{prefix}embeddings.position_ids"] = torch.arange(16)
    ours = ClipStatesModel(ClipTextConfig.read(stock.config.to_dict())).requires_grad_(False)
    assert ours.compare(weights) == (set(), [])
    ours.fill(weights.items())
    ids, mask = torch.tensor([[BEGIN, 7, 21, END, END]]), torch.tensor([[1, 1, 1, 1, 0]])
    expected = stock(ids, attention_mask=mask)
    states, at_end = ours(ids, mask)
    assert torch.equal(states, expected.last_hidden_state)
    assert torch.equal(at_end, expected.pooler_output)


def test_the_positions_that_old_files_hold_are_ignored() -> None:
    stock, ours = make_both()
    positions = {"text_model.embeddings.position_ids": torch.arange(16)[None]}
    assert ours.compare(stock.state_dict() | positions) == (set(), [])
    ours.fill((stock.state_dict() | positions).items())


def test_an_activation_that_is_not_known_is_named() -> None:
    with pytest.raises(ValueError, match="hidden_act must be one of gelu, quick_gelu"):
        ClipTextConfig.read({"hidden_act": "swish"})


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"num_attention_heads": 5}, "num_attention_heads is 5, which does not divide 48"),
        ({"num_attention_heads": 0}, "num_attention_heads must be a whole number from 1"),
        ({"eos_token_id": [59]}, "eos_token_id must be a whole number"),
        ({"eos_token_id": None}, "eos_token_id must be a whole number"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers must be a whole number from 0 to 1000"),
        ({"hidden_size": 10**6}, "hidden_size must be a whole number from 1 to 65536"),
        ({"max_position_embeddings": 1}, "max_position_embeddings must be a whole number from 2"),
        ({"layer_norm_eps": "small"}, "layer_norm_eps must be a number"),
    ],
)
def test_a_number_that_no_network_has_is_named(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ClipTextConfig.read(BASE | wrong)
