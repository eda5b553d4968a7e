"""Families of diffusers' modular pipelines: one denoises, SDXL may refine, one decodes.

Defaults of steps and guidance are those of diffusers 0.42.1: of the model's pipeline, or of its
modular blocks for distilled models, which need few steps. Work is counted in passes of a denoiser
over a megapixel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from cascade_core.families.licence import Licence, stated_licence
from cascade_core.families.spec import Family, StageSpec
from cascade_core.model_defaults import ModelDefaults, StrengthWord
from cascade_core.operations.fields import DETAIL_FIELDS, MAX_STEPS
from cascade_core.request import GenerationRequest

GUIDANCE_FIELDS: Final = ("negative_prompt", "guidance_scale")
"""The fields of models with guidance; a distilled model has none."""
DECODING_PASSES: Final = 0.5
"""One decoding, in passes of a denoiser; it only has to order jobs."""
_HANDOFF: Final = "cascade_core.tensor_handoff:NamedTensors"
_STAGES: Final = "cascade_core.stages.modular"
_OPENER: Final = "cascade_core.checkpoints.diffusers_files:open_diffusers"
_CHECK: Final = "check the model's card before you offer it to others"
_SDXL_LICENCE: Final = {
    "stabilityai/stable-diffusion-xl": Licence(
        f"said to be CreativeML Open RAIL++-M, which restricts uses; {_CHECK}"
    )
}
_LACKED: Final = (*DETAIL_FIELDS, "stop_after")
"""No second diffusion stage draws details, and no previewer is there before the model is loaded."""
_VARY: Final[Mapping[StrengthWord, float]] = {"subtle": 0.6, "strong": 0.8}
"""0.6 is the default strength of diffusers' blocks that start from a picture."""


def _denoising_work(request: GenerationRequest) -> float:
    steps = max(1, request.composing_steps)  # a latent that stays as it is takes a replica, too
    return _megapixels(request) * steps * _passes(request.guidance_scale)


def _refining_work(request: GenerationRequest) -> float:
    passes = request.decoder_steps * _passes(request.decoder_guidance_scale)
    return _megapixels(request) * passes


def _decoding_work(request: GenerationRequest) -> float:
    return _megapixels(request) * DECODING_PASSES


def _denoising_steps(request: GenerationRequest) -> int:
    return request.composing_steps


def _refining_steps(request: GenerationRequest) -> int:
    return request.decoder_steps


def _one_step(_request: GenerationRequest) -> int:
    return 1


def _megapixels(request: GenerationRequest) -> float:
    return request.width * request.height / 1e6


def _passes(guidance_scale: float) -> int:
    """Guidance runs the denoiser once more, without the prompt."""
    return 2 if guidance_scale > 1 else 1


def _denoise(components: tuple[str, ...], share: float, gpu_share: float) -> StageSpec:
    return StageSpec(
        name="d",
        title="D denoising",
        model=f"{_STAGES}.denoise:ModularDenoise",
        output=_HANDOFF,
        components=components,
        work=_denoising_work,
        steps=_denoising_steps,
        max_previews=MAX_STEPS,
        share=share,
        gpu_share=gpu_share,
        keeps_output=True,
    )


_REFINE: Final = StageSpec(
    name="r",
    title="R refining",
    model=f"{_STAGES}.refine:ModularRefine",
    output=_HANDOFF,
    components=("text_encoder_2", "tokenizer_2", "unet", "vae"),
    work=_refining_work,
    steps=_refining_steps,
    max_previews=1,
    share=0.25,
    gpu_share=0.35,
    draws_details=True,
)
_DECODE: Final = StageSpec(
    name="a",
    title="A decoding",
    model=f"{_STAGES}.decode:ModularDecode",
    components=("vae",),
    work=_decoding_work,
    steps=_one_step,
    share=0.05,
    gpu_share=0.15,
    own_gpus=0.0,
)


def _two_stages(components: tuple[str, ...]) -> tuple[StageSpec, ...]:
    """Return the stages of a family without a refiner.

    Args:
        components: what the first stage loads, beside the decoder, to which its previews are
            fitted.
    """
    denoise = _denoise((*components, "vae"), share=0.95, gpu_share=0.85)
    return denoise, _DECODE


def _defaults(steps: int, guidance_scale: float) -> ModelDefaults:
    return ModelDefaults(steps=steps, guidance_scale=guidance_scale, vary=_VARY)


_ONE_TEXT: Final = ("text_encoder", "tokenizer", "transformer")
_SDXL: Final = ("text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "unet")
_SD3: Final = (
    *("text_encoder", "text_encoder_2", "text_encoder_3"),
    *("tokenizer", "tokenizer_2", "tokenizer_3", "transformer"),
)


SDXL: Final = Family(
    name="sdxl",
    title="Stable Diffusion XL",
    classes=("StableDiffusionXLPipeline", "StableDiffusionXLModularPipeline"),
    opener=_OPENER,
    defaults=_defaults(steps=50, guidance_scale=5.0),
    licences=_SDXL_LICENCE,
    stages=_two_stages(_SDXL),
    lacks=_LACKED,
)
SDXL_REFINER: Final = Family(
    name="sdxl_refiner",
    title="Stable Diffusion XL with its refiner",
    classes=("StableDiffusionXLImg2ImgPipeline",),
    opener=_OPENER,
    defaults=replace(
        _defaults(steps=50, guidance_scale=5.0), decoder_steps=15, decoder_guidance_scale=5.0
    ),
    licences=_SDXL_LICENCE,
    stages=(
        _denoise(
            tuple(f"prior_{name}" for name in (*_SDXL, "vae")),
            share=0.7,
            gpu_share=0.5,
        ),
        _REFINE,
        _DECODE,
    ),
    lacks=("stop_after",),
)
SD3: Final = Family(
    name="sd3",
    title="Stable Diffusion 3",
    classes=("StableDiffusion3Pipeline", "StableDiffusion3ModularPipeline"),
    opener=_OPENER,
    defaults=_defaults(steps=28, guidance_scale=7.0),
    licences={
        "stabilityai/stable-diffusion-3": Licence(
            "Stability AI Community License, said to be free below 1 M USD of yearly revenue; "
            f"{_CHECK}"
        )
    },
    stages=_two_stages(_SD3),
    lacks=_LACKED,
)
Z_IMAGE: Final = Family(
    name="z_image",
    title="Z-Image",
    classes=("ZImagePipeline", "ZImageModularPipeline"),
    opener=_OPENER,
    defaults=_defaults(steps=8, guidance_scale=0.0),
    licences={"Tongyi-MAI/Z-Image": Licence(f"said to be Apache-2.0; {_CHECK}")},
    stages=_two_stages(_ONE_TEXT),
    lacks=_LACKED,
)
FLUX2_KLEIN: Final = Family(
    name="flux2_klein",
    title="FLUX.2 klein",
    classes=("Flux2KleinPipeline", "Flux2KleinModularPipeline"),
    opener=_OPENER,
    defaults=_defaults(steps=4, guidance_scale=0.0),
    licences={
        "black-forest-labs/FLUX.2-klein-4B": stated_licence("Apache-2.0"),
        "black-forest-labs/FLUX.2-klein-9B": Licence(f"said to be non-commercial; {_CHECK}"),
    },
    stages=_two_stages(_ONE_TEXT),
    lacks=(*_LACKED, *GUIDANCE_FIELDS),
)
QWEN_IMAGE: Final = Family(
    name="qwen_image",
    title="Qwen-Image",
    classes=("QwenImagePipeline", "QwenImageModularPipeline"),
    opener=_OPENER,
    defaults=_defaults(steps=50, guidance_scale=4.0),
    licences={"Qwen/Qwen-Image": Licence(f"said to be Apache-2.0; {_CHECK}")},
    stages=_two_stages(_ONE_TEXT),
    lacks=_LACKED,
)
MODULAR_FAMILIES: Final = (SDXL, SDXL_REFINER, SD3, Z_IMAGE, FLUX2_KLEIN, QWEN_IMAGE)
