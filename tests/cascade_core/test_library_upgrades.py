"""Known traps of diffusers and transformers; an upgrade that moves one of them fails here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from cascade_core.checkpoints.checkpoint import Checkpoint, ModelSource, open_checkpoint
from cascade_core.checkpoints.weights import Placement
from cascade_core.conditioning.text import TextEncoder
from cascade_core.errors import InvalidRequest
from cascade_core.families.stable_cascade import STABLE_CASCADE
from cascade_core.geometry import Geometry
from cascade_core.pipeline import CascadePipeline
from cascade_core.request import GenerationRequest
from cascade_core.stages.stage_c import StageCTask
from tests.tiny_model import (
    IMAGE_CHANNELS,
    MAX_TOKENS,
    POOLED_CHANNELS,
    TEXT_CHANNELS,
    TinyModel,
    stock_decoder,
    stock_prior,
    write_two,
)


@pytest.fixture(scope="module")
def encoder(tiny_checkpoint: Checkpoint) -> TextEncoder:
    return TextEncoder.load(tiny_checkpoint, torch.device("cpu"), torch.float32)


def tokenize(model: TinyModel, prompt: str) -> tuple[torch.Tensor, torch.Tensor]:
    tokens = model.tokenizer(
        prompt, padding="max_length", max_length=MAX_TOKENS, truncation=True, return_tensors="pt"
    )
    return tokens.input_ids, tokens.attention_mask


def test_the_hubs_index_entry_for_paella_does_not_matter(
    tiny_model: TinyModel, tmp_path: Path
) -> None:
    """The pipelines of diffusers fail on it: huggingface/diffusers#14008."""
    decoder, _ = write_two(tiny_model, tmp_path)
    index = json.loads((decoder / "model_index.json").read_text())
    assert index["vqgan"] == ["wuerstchen", "PaellaVQModel"]
    checkpoint = open_checkpoint(ModelSource(str(decoder)))
    CascadePipeline.load(checkpoint, Placement("cpu"), STABLE_CASCADE)


def test_the_text_embedding_is_from_before_the_final_norm(
    encoder: TextEncoder, tiny_model: TinyModel
) -> None:
    text, _ = encoder.encode("a red cat")
    ids, mask = tokenize(tiny_model, "a red cat")
    normed = tiny_model.text_encoder(ids, attention_mask=mask).last_hidden_state
    clip = getattr(tiny_model.text_encoder, "text_model", tiny_model.text_encoder)
    assert torch.allclose(clip.final_layer_norm(text), normed, atol=1e-5)
    assert not torch.allclose(text, normed, atol=0.1)


def test_the_pooled_embedding_is_the_projected_end_token_with_three_axes(
    encoder: TextEncoder, tiny_model: TinyModel
) -> None:
    text, pooled = encoder.encode("a red cat")
    assert text.shape == (1, MAX_TOKENS, TEXT_CHANNELS)
    assert pooled.shape == (1, 1, POOLED_CHANNELS)
    ids, mask = tokenize(tiny_model, "a red cat")
    end = int((ids[0] == tiny_model.tokenizer.eos_token_id).int().argmax())
    normed = tiny_model.text_encoder(ids, attention_mask=mask).last_hidden_state
    expected = tiny_model.text_encoder.text_projection(normed[:, end])
    assert torch.allclose(pooled[0], expected, atol=1e-5)


def test_the_attention_mask_is_passed_and_matters(
    encoder: TextEncoder, tiny_model: TinyModel
) -> None:
    text, _ = encoder.encode("a red cat")
    ids, mask = tokenize(tiny_model, "a red cat")
    masked, unmasked = (
        tiny_model.text_encoder(ids, attention_mask=given, output_hidden_states=True).hidden_states[
            -1
        ]
        for given in (mask, None)
    )
    assert torch.equal(text, masked)
    assert not torch.allclose(text, unmasked, atol=1e-3)


@pytest.mark.parametrize("prompt", ["", "a red cat", "re " * 75, "red " * 500])
def test_embeddings_equal_those_of_the_stock_prior(
    prompt: str, encoder: TextEncoder, tiny_model: TinyModel
) -> None:
    stock = stock_prior(tiny_model).encode_prompt("cpu", 1, 1, False, prompt=prompt)
    text, pooled = encoder.encode(prompt)
    assert torch.equal(text, stock[0])
    assert torch.equal(pooled, stock[1])


def test_words_beyond_the_models_length_are_cut_off(encoder: TextEncoder) -> None:
    assert encoder.max_tokens == MAX_TOKENS
    # Begin and end take two places; every "red" is one token.
    full = "red " * (MAX_TOKENS - 2)
    assert torch.equal(encoder.encode(full)[0], encoder.encode(full + "cat " * 9)[0])


def test_the_empty_image_embedding_has_the_models_width(stock_pipeline: CascadePipeline) -> None:
    request = GenerationRequest(prompt="", width=256, height=256, seed=0, decoder_seed=0)
    row = stock_pipeline.stages["c"].admit(StageCTask(request))
    assert row.cond["clip_img"].shape == (1, 1, IMAGE_CHANNELS)
    assert not row.cond["clip_img"].any()


def test_sides_that_are_no_multiples_of_128_break_stage_b_and_are_refused(
    tiny_model: TinyModel,
) -> None:
    hw = Geometry().stage_c_hw(320, 320)
    with pytest.raises(RuntimeError):
        stock_decoder(tiny_model)(
            image_embeddings=torch.zeros(1, 16, *hw), prompt="", num_inference_steps=1
        )
    with pytest.raises(InvalidRequest, match="width must be a multiple of 128"):
        GenerationRequest(prompt="", width=320, height=256, seed=0, decoder_seed=0)
