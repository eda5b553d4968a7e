"""A flow model with random weights, small enough for a CPU test; it shares the demo's parts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from cascade_core.models.unet import CascadeUnet
from cascade_core.models.unet_config import UnetConfig

SHIFT = 3.0
_CONV = ["SDCascadeResBlock", "SDCascadeTimestepBlock"]
CONFIG: dict[str, Any] = {
    "_class_name": "StableCascadeUNet",
    "in_channels": 4,
    "out_channels": 4,
    "timestep_ratio_embedding_dim": 16,
    "patch_size": 4,
    "conditioning_dim": 24,
    "block_out_channels": [16, 32],
    "num_attention_heads": [-1, 2],
    "down_num_layers_per_block": [1, 1],
    "up_num_layers_per_block": [1, 1],
    "down_blocks_repeat_mappers": [1, 1],
    "up_blocks_repeat_mappers": [1, 1],
    "block_types_per_layer": [_CONV, [*_CONV, "SDCascadeAttnBlock"]],
    "clip_text_in_channels": 128,
    "clip_text_pooled_in_channels": 128,
    "clip_image_in_channels": 128,
    "clip_seq": 4,
    "kernel_size": 3,
    "self_attn": [False, True],
    "timestep_conditioning_type": ["sca"],
}


def write_flow_model(folder: Path, seed: int = 0, **about: Any) -> Path:
    """Write a model folder; ``about`` goes to its cascade.json."""
    torch.manual_seed(seed)
    net = CascadeUnet(UnetConfig.read(CONFIG))
    for name, parameter in net.named_parameters():
        if name.endswith(("gamma", "beta")):  # zeros would hide the norm
            parameter.data.normal_(0, 0.3)
    (folder / "denoiser").mkdir(parents=True)
    weights = {name: weight.clone() for name, weight in net.places().items()}
    save_file(weights, folder / "denoiser" / "diffusion_pytorch_model.safetensors")
    scheduler = {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": SHIFT}
    stated = {"name": "tiny-flow", "components_of": "demo", "width": 256, "height": 256} | about
    for path, content in {
        "denoiser/config.json": CONFIG,
        "scheduler/scheduler_config.json": scheduler,
        "model_index.json": {"_class_name": "CascadeFlowPipeline"},
        "cascade.json": stated,
    }.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(json.dumps(content))
    return folder
