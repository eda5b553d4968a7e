"""Tiny models with random weights, in diffusers' layout and with its own classes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTextConfig, CLIPTokenizer, Qwen2Tokenizer, Qwen3Config

from cascade_core.checkpoints.model_folders import DEMO_MODEL_DIR

TEXT_TOKENS = 40
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] + ': ' + message['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}{{ ' assistant:' }}{% endif %}"
)


def write_model(folder: Path, pipeline: str, values: dict[str, Any], **parts: Any) -> None:
    """Save components and the index that lists them; None: the index lists it as absent."""
    index: dict[str, Any] = {"_class_name": pipeline, "_diffusers_version": "0.42.1", **values}
    for name, part in parts.items():
        index[name] = [None, None]
        if part is not None:
            part.save_pretrained(folder / name)
            index[name] = [type(part).__module__.partition(".")[0], type(part).__name__]
    (folder / "model_index.json").write_text(json.dumps(index))


def vae(channels: int = 4, **changes: Any) -> Any:
    torch.manual_seed(1)
    values: dict[str, Any] = {
        "block_out_channels": [8, 8, 16, 16],
        "down_block_types": ["DownEncoderBlock2D"] * 4,
        "up_block_types": ["UpDecoderBlock2D"] * 4,
        "latent_channels": channels,
        "norm_num_groups": 4,
        "layers_per_block": 1,
        "mid_block_add_attention": False,
    }
    return diffusers.AutoencoderKL(**values | changes)


def clip_tokenizer() -> Any:
    tokenizer = CLIPTokenizer.from_pretrained(str(DEMO_MODEL_DIR / "tokenizer"))
    tokenizer.model_max_length = TEXT_TOKENS
    return tokenizer


def clip_text(kind: Any, seed: int) -> Any:
    torch.manual_seed(seed)
    return kind(
        CLIPTextConfig(
            vocab_size=848,
            hidden_size=32,
            intermediate_size=37,
            num_hidden_layers=3,
            num_attention_heads=4,
            max_position_embeddings=TEXT_TOKENS,
            projection_dim=32,
            bos_token_id=846,
            eos_token_id=847,
            pad_token_id=847,
        )
    )


def sdxl_unet(seed: int, text_channels: int, time_ids: int = 6) -> Any:
    torch.manual_seed(seed)
    return diffusers.UNet2DConditionModel(
        block_out_channels=(16, 32),
        layers_per_block=1,
        sample_size=32,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=(2, 4),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        transformer_layers_per_block=(1, 1),
        projection_class_embeddings_input_dim=32 + 8 * time_ids,
        cross_attention_dim=text_channels,
        norm_num_groups=8,
    )


def euler() -> Any:
    return diffusers.EulerDiscreteScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        timestep_spacing="leading",
        steps_offset=1,
    )


def write_sdxl(folder: Path, scheduler: Any = None) -> None:
    write_model(
        folder,
        "StableDiffusionXLPipeline",
        {"force_zeros_for_empty_prompt": True},
        text_encoder=clip_text(transformers.CLIPTextModel, 2),
        text_encoder_2=clip_text(transformers.CLIPTextModelWithProjection, 3),
        tokenizer=clip_tokenizer(),
        tokenizer_2=clip_tokenizer(),
        unet=sdxl_unet(4, text_channels=64),
        vae=vae(),
        scheduler=scheduler or euler(),
    )


def write_sdxl_refiner(folder: Path) -> None:
    write_model(
        folder,
        "StableDiffusionXLImg2ImgPipeline",
        {"force_zeros_for_empty_prompt": False, "requires_aesthetics_score": True},
        text_encoder=None,
        text_encoder_2=clip_text(transformers.CLIPTextModelWithProjection, 3),
        tokenizer=None,
        tokenizer_2=clip_tokenizer(),
        unet=sdxl_unet(5, text_channels=32, time_ids=5),
        vae=vae(),
        scheduler=euler(),
    )


def qwen_tokenizer() -> Any:
    """Return a tokenizer of bytes: it needs no vocabulary from elsewhere."""
    vocabulary = {"<|endoftext|>": 0, "<|im_start|>": 1, "<|im_end|>": 2}
    for number, letter in enumerate(sorted(ByteLevel.alphabet()), len(vocabulary)):
        vocabulary[letter] = number
    tokenizer = Qwen2Tokenizer(vocab=vocabulary, merges=[])
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def qwen3(kind: Any, layers: int) -> Any:
    torch.manual_seed(6)
    return kind(
        Qwen3Config(
            vocab_size=300,
            hidden_size=16,
            intermediate_size=24,
            num_hidden_layers=layers,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=8,
            max_position_embeddings=1024,
            bos_token_id=0,
            eos_token_id=0,
            pad_token_id=0,
        )
    )


def flow(shift: float = 3.0, **changes: Any) -> Any:
    return diffusers.FlowMatchEulerDiscreteScheduler(shift=shift, **changes)


def write_z_image(folder: Path) -> None:
    torch.manual_seed(7)
    transformer = diffusers.ZImageTransformer2DModel(
        all_patch_size=(2,),
        all_f_patch_size=(1,),
        in_channels=16,
        dim=32,
        n_layers=2,
        n_refiner_layers=1,
        n_heads=2,
        n_kv_heads=2,
        cap_feat_dim=16,
        axes_dims=[8, 4, 4],
        axes_lens=[256, 32, 32],
    )
    write_model(
        folder,
        "ZImagePipeline",
        {},
        text_encoder=qwen3(transformers.Qwen3Model, 3),
        tokenizer=qwen_tokenizer(),
        transformer=transformer,
        vae=vae(16, shift_factor=0.1, scaling_factor=0.36),
        scheduler=flow(),
    )


def write_flux2_klein(folder: Path) -> None:
    torch.manual_seed(8)
    transformer = diffusers.Flux2Transformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=48,
        timestep_guidance_channels=32,
        axes_dims_rope=[4, 4, 4, 4],
        guidance_embeds=False,
    )
    torch.manual_seed(1)
    decoder = diffusers.AutoencoderKLFlux2(
        block_out_channels=[8, 8, 16, 16],
        down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4,
        latent_channels=4,
        norm_num_groups=4,
        layers_per_block=1,
    )
    write_model(
        folder,
        "Flux2KleinPipeline",
        {"is_distilled": True},
        text_encoder=qwen3(transformers.Qwen3ForCausalLM, 28),
        tokenizer=qwen_tokenizer(),
        transformer=transformer,
        vae=decoder,
        scheduler=flow(use_dynamic_shifting=True),
    )


def write_qwen_image(folder: Path) -> None:
    torch.manual_seed(9)
    text_encoder = transformers.Qwen2_5_VLForConditionalGeneration(
        transformers.Qwen2_5_VLConfig(
            text_config={
                "vocab_size": 300,
                "hidden_size": 16,
                "intermediate_size": 24,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "num_key_value_heads": 1,
                "max_position_embeddings": 2048,
                "rope_scaling": {
                    "type": "default",
                    "mrope_section": [1, 1, 2],
                    "rope_type": "default",
                },
            },
            vision_config={
                "depth": 1,
                "hidden_size": 16,
                "intermediate_size": 16,
                "num_heads": 2,
                "out_hidden_size": 16,
            },
        )
    )
    transformer = diffusers.QwenImageTransformer2DModel(
        patch_size=2,
        in_channels=64,
        out_channels=16,
        num_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=16,
        guidance_embeds=False,
        axes_dims_rope=(8, 4, 4),
    )
    decoder = diffusers.AutoencoderKLQwenImage(
        base_dim=8, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1
    )
    write_model(
        folder,
        "QwenImagePipeline",
        {},
        text_encoder=text_encoder,
        tokenizer=qwen_tokenizer(),
        transformer=transformer,
        vae=decoder,
        scheduler=flow(1.0, use_dynamic_shifting=True, shift_terminal=0.02),
    )


def t5_tokenizer() -> Any:
    letters = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("\u2581", -2.0)]
    letters += [(letter, -3.0) for letter in "abcdefghijklmnopqrstuvwxyz"]
    return transformers.T5TokenizerFast(vocab=letters, extra_ids=0)


def write_sd3(folder: Path) -> None:
    torch.manual_seed(10)
    transformer = diffusers.SD3Transformer2DModel(
        sample_size=32,
        patch_size=2,
        in_channels=16,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=4,
        joint_attention_dim=64,
        caption_projection_dim=32,
        pooled_projection_dim=64,
        out_channels=16,
        pos_embed_max_size=64,
    )
    text_encoder_3 = transformers.T5EncoderModel(
        transformers.T5Config(vocab_size=40, d_model=64, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    )
    kind = transformers.CLIPTextModelWithProjection
    write_model(
        folder,
        "StableDiffusion3Pipeline",
        {},
        text_encoder=clip_text(kind, 2),
        text_encoder_2=clip_text(kind, 3),
        text_encoder_3=text_encoder_3,
        tokenizer=clip_tokenizer(),
        tokenizer_2=clip_tokenizer(),
        tokenizer_3=t5_tokenizer(),
        transformer=transformer,
        vae=vae(16, shift_factor=0.06, scaling_factor=1.5),
        scheduler=flow(),
    )


def write_sdxl_with_refiner(folder: Path) -> None:
    write_sdxl_refiner(folder)
    write_sdxl(folder / "base")


def write_ancestral_sdxl(folder: Path) -> None:
    """Write SDXL with a scheduler that draws noise in each step."""
    scheduler = diffusers.EulerAncestralDiscreteScheduler.from_config(euler().config)
    write_sdxl(folder, scheduler)


def write_multistep_sdxl(folder: Path) -> None:
    """Write SDXL with a scheduler that remembers earlier steps."""
    write_sdxl(folder, diffusers.DPMSolverMultistepScheduler.from_config(euler().config))


def write_heun_sdxl(folder: Path) -> None:
    """Write SDXL with a scheduler that takes two predictions for each step."""
    write_sdxl(folder, diffusers.HeunDiscreteScheduler.from_config(euler().config))


WRITERS: dict[str, Callable[[Path], None]] = {
    "sdxl": write_sdxl,
    "sd3": write_sd3,
    "z_image": write_z_image,
    "flux2_klein": write_flux2_klein,
    "qwen_image": write_qwen_image,
    "sdxl_refiner": write_sdxl_with_refiner,
}
"""By family, what writes such a model into a folder."""
VARIANTS: dict[str, Callable[[Path], None]] = {
    "ancestral_sdxl": write_ancestral_sdxl,
    "multistep_sdxl": write_multistep_sdxl,
    "heun_sdxl": write_heun_sdxl,
}
"""Other models of these families."""
