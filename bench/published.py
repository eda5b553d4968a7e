"""The published configurations of Stable Cascade, and components of them with random weights.

The values are those of the `config.json` files of stabilityai/stable-cascade and
stabilityai/stable-cascade-prior, and of diffusers' scripts/convert_stable_cascade*.py. `tiny` has
every kind of block of `full` and is small enough for a dry run.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import torch
from diffusers.models.unets.unet_stable_cascade import StableCascadeUNet
from diffusers.pipelines.deprecated.wuerstchen.modeling_paella_vq_model import PaellaVQModel
from transformers import CLIPTextConfig, CLIPTextModelWithProjection, CLIPTokenizer

Config = dict[str, Any]


@dataclass(frozen=True)
class Scale:
    """The configurations of one size of the model, as `config.json` states them."""

    prior: Config
    decoder: Config
    vqgan: Config
    text_encoder: Config


_CONV = ["SDCascadeResBlock", "SDCascadeTimestepBlock"]
_CONV_ATTENTION = [*_CONV, "SDCascadeAttnBlock"]

_PRIOR: Config = {
    "in_channels": 16,
    "out_channels": 16,
    "timestep_ratio_embedding_dim": 64,
    "patch_size": 1,
    "conditioning_dim": 2048,
    "block_out_channels": [2048, 2048],
    "num_attention_heads": [32, 32],
    "down_num_layers_per_block": [8, 24],
    "up_num_layers_per_block": [24, 8],
    "down_blocks_repeat_mappers": [1, 1],
    "up_blocks_repeat_mappers": [1, 1],
    "block_types_per_layer": [_CONV_ATTENTION, _CONV_ATTENTION],
    "clip_text_in_channels": 1280,
    "clip_text_pooled_in_channels": 1280,
    "clip_image_in_channels": 768,
    "clip_seq": 4,
    "effnet_in_channels": None,
    "pixel_mapper_in_channels": None,
    "kernel_size": 3,
    "dropout": [0.1, 0.1],
    "self_attn": True,
    "timestep_conditioning_type": ["sca", "crp"],
    "switch_level": [False],
}
_DECODER: Config = {
    "in_channels": 4,
    "out_channels": 4,
    "timestep_ratio_embedding_dim": 64,
    "patch_size": 2,
    "conditioning_dim": 1280,
    "block_out_channels": [320, 640, 1280, 1280],
    "num_attention_heads": [0, 0, 20, 20],
    "down_num_layers_per_block": [2, 6, 28, 6],
    "up_num_layers_per_block": [6, 28, 6, 2],
    "down_blocks_repeat_mappers": [1, 1, 1, 1],
    "up_blocks_repeat_mappers": [3, 3, 2, 2],
    "block_types_per_layer": [_CONV, _CONV, _CONV_ATTENTION, _CONV_ATTENTION],
    "clip_text_in_channels": None,
    "clip_text_pooled_in_channels": 1280,
    "clip_image_in_channels": None,
    "clip_seq": 4,
    "effnet_in_channels": 16,
    "pixel_mapper_in_channels": 3,
    "kernel_size": 3,
    "dropout": [0, 0, 0.1, 0.1],
    "self_attn": True,
    "timestep_conditioning_type": ["sca"],
    "switch_level": None,
}
_VQGAN: Config = {
    "in_channels": 3,
    "out_channels": 3,
    "up_down_scale_factor": 2,
    "levels": 2,
    "bottleneck_blocks": 12,
    "embed_dim": 384,
    "latent_channels": 4,
    "num_vq_embeddings": 8192,
    "scale_factor": 0.3764,
}
_TEXT_ENCODER: Config = {
    "vocab_size": 49408,
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_hidden_layers": 32,
    "num_attention_heads": 20,
    "max_position_embeddings": 77,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-5,
    "projection_dim": 1280,
}
_PRIOR_LITE = _PRIOR | {
    "conditioning_dim": 1536,
    "block_out_channels": [1536, 1536],
    "num_attention_heads": [24, 24],
    "down_num_layers_per_block": [4, 12],
    "up_num_layers_per_block": [12, 4],
}
_DECODER_LITE = _DECODER | {
    "block_out_channels": [320, 576, 1152, 1152],
    "num_attention_heads": [0, 9, 18, 18],
    "down_num_layers_per_block": [2, 4, 14, 4],
    "up_num_layers_per_block": [4, 14, 4, 2],
    "up_blocks_repeat_mappers": [2, 2, 2, 2],
}
_TINY_TEXT = {"clip_text_pooled_in_channels": 40, "conditioning_dim": 32}

SCALES: Final = {
    "full": Scale(_PRIOR, _DECODER, _VQGAN, _TEXT_ENCODER),
    "lite": Scale(_PRIOR_LITE, _DECODER_LITE, _VQGAN, _TEXT_ENCODER),
    "tiny": Scale(
        _PRIOR
        | _TINY_TEXT
        | {
            "block_out_channels": [32, 32],
            "num_attention_heads": [2, 2],
            "down_num_layers_per_block": [1, 1],
            "up_num_layers_per_block": [1, 1],
            "clip_text_in_channels": 48,
        },
        _DECODER
        | _TINY_TEXT
        | {
            "block_out_channels": [16, 16, 32, 32],
            "num_attention_heads": [0, 0, 2, 2],
            "down_num_layers_per_block": [1, 1, 1, 1],
            "up_num_layers_per_block": [1, 1, 1, 1],
        },
        _VQGAN | {"bottleneck_blocks": 1, "embed_dim": 32, "num_vq_embeddings": 8},
        _TEXT_ENCODER
        | {
            "vocab_size": 192,
            "hidden_size": 48,
            "intermediate_size": 96,
            "num_hidden_layers": 2,
            "num_attention_heads": 3,
            "projection_dim": 40,
        },
    ),
}
WEIGHTS: Final = ("prior", "text_encoder", "decoder", "vqgan")
"""The components that have weights."""
# Published weights are not zero here; freshly made ones are, and whole branches would do nothing.
_ZERO_INITIALISED = ("gamma", "beta", "gammas")


def random_component(
    scale: Scale, name: str, device: torch.device, dtype: torch.dtype, seed: int = 0
) -> Any:
    """Make a component on a device, in its dtype from the start, so that it is never there twice.

    Args:
        scale: its size.
        name: one of ``WEIGHTS``.
        device: where to; ``meta`` for shapes alone.
        dtype: of all weights.
        seed: equal seeds give equal weights on one kind of device.
    """
    torch.manual_seed(seed)
    with _new_tensors(device, dtype):
        if name == "text_encoder":
            module = CLIPTextModelWithProjection(_text_config(scale))
        else:
            module_class = PaellaVQModel if name == "vqgan" else StableCascadeUNet
            module = module_class(**getattr(scale, name))
    module.eval().requires_grad_(False)
    for parameter_name, parameter in module.named_parameters():
        if parameter_name.endswith(_ZERO_INITIALISED):
            parameter.normal_(0, 0.3)
    return module


def letter_tokenizer(scale: Scale) -> Any:
    """Return a tokenizer of letters for the text encoder's vocabulary, filled up with unused words.

    A prompt has as many tokens as the text encoder has places, whatever they are, so this costs
    what the published one costs.
    """
    letters = [chr(code) for code in range(ord("!"), ord("~") + 1)]
    words = [*letters, *(letter + "</w>" for letter in letters)]
    words += [f"<unused{number}>" for number in range(_vocabulary(scale) - len(words) - 2)]
    words += ["<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(
        vocab={word: number for number, word in enumerate(words)},
        merges=[],
        model_max_length=scale.text_encoder["max_position_embeddings"],
    )


def _vocabulary(scale: Scale) -> int:
    return int(scale.text_encoder["vocab_size"])


def _text_config(scale: Scale) -> Any:
    last = _vocabulary(scale) - 1
    # As in laion/CLIP-ViT-bigG-14: begin and end are the last two words.
    ends = {"bos_token_id": last - 1, "eos_token_id": last, "pad_token_id": 1}
    return CLIPTextConfig(**scale.text_encoder | ends)


@contextmanager
def _new_tensors(device: torch.device, dtype: torch.dtype) -> Iterator[None]:
    """Make new floating-point tensors on a device and in a dtype."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with device:
            yield
    finally:
        torch.set_default_dtype(before)
