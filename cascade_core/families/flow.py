"""A plain flow-matching model in two stages: D denoises, A decodes to pixels.

Its denoiser's latent is the final one before pixels, so no later stage draws details of its own.

Work is counted in passes of the net over a megapixel, as the cascades' is.
"""

from __future__ import annotations

from typing import Final

from cascade_core.families.component_folders import ComponentFolders
from cascade_core.families.spec import Family, StageSpec
from cascade_core.operations.fields import DETAIL_FIELDS, MAX_STEPS
from cascade_core.request import GenerationRequest

DENOISER_WEIGHT: Final = 2.0
"""A pass of the net, which works on as many positions as Stage B's."""
STAGE_A_PASSES: Final = 1.0


def _denoiser_work(request: GenerationRequest) -> float:
    steps = max(1, request.composing_steps)  # a latent that stays as it is takes a replica, too
    passes = 2 if request.guidance_scale > 1 else 1
    return DENOISER_WEIGHT * _megapixels(request) * steps * passes


def _stage_a_work(request: GenerationRequest) -> float:
    return DENOISER_WEIGHT * _megapixels(request) * STAGE_A_PASSES


def _denoiser_steps(request: GenerationRequest) -> int:
    return request.composing_steps


def _one_step(_request: GenerationRequest) -> int:
    return 1


def _megapixels(request: GenerationRequest) -> float:
    return request.width * request.height / 1e6


DENOISING: Final = StageSpec(
    name="d",
    title="D denoising",
    model="cascade_core.stages.flow:FlowStage",
    output="cascade_core.handoff:FlowLatent",
    components=("denoiser", "text_encoder", "tokenizer", "vqgan"),  # its previewer may be fitted
    work=_denoiser_work,
    steps=_denoiser_steps,
    max_previews=MAX_STEPS,
    share=0.9,
    gpu_share=0.75,
    keeps_output=True,
)
DECODING: Final = StageSpec(
    name="a",
    title="A decoding",
    model="cascade_core.stages.stage_a:StageA",
    components=("vqgan",),
    work=_stage_a_work,
    steps=_one_step,
    share=0.1,
    gpu_share=0.25,
    own_gpus=0.0,
)

FLOW: Final = Family(
    name="flow",
    title="flow-matching",
    classes=("CascadeFlowPipeline",),
    opener="cascade_core.checkpoints.flow_files:open_flow",
    folders={
        "denoiser": ComponentFolders(choices=("denoiser",)),
        "scheduler": ComponentFolders(choices=("scheduler",)),
        "text_encoder": ComponentFolders(choices=("text_encoder",)),
        "tokenizer": ComponentFolders(choices=("tokenizer",)),
        "vqgan": ComponentFolders(choices=("vqgan",)),
    },
    stages=(DENOISING, DECODING),
    lacks=DETAIL_FIELDS,
)
