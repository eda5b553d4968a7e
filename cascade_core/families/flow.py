"""A plain flow-matching model in two stages: D denoises, A decodes to pixels.

Its denoiser's latent is the final one before pixels, so no later stage draws details of its own.
"""

from __future__ import annotations

from typing import Final

from cascade_core.families.cascade_work import (
    DETAIL_WEIGHT,
    composing_steps,
    composing_work,
    decoding_work,
    one_step,
)
from cascade_core.families.component_folders import ComponentFolders
from cascade_core.families.spec import Family, StageSpec
from cascade_core.operations.fields import DETAIL_FIELDS, MAX_STEPS
from cascade_core.request import GenerationRequest


def _denoising_work(request: GenerationRequest) -> float:
    # A pass works on as many positions as one that adds a cascade's details.
    return DETAIL_WEIGHT * composing_work(request)


DENOISING: Final = StageSpec(
    name="d",
    title="D denoising",
    model="cascade_core.stages.flow:FlowStage",
    output="cascade_core.handoff:FlowLatent",
    components=("denoiser", "text_encoder", "tokenizer", "vqgan"),  # its previewer may be fitted
    work=_denoising_work,
    steps=composing_steps,
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
    work=decoding_work,
    steps=one_step,
    share=0.1,
    gpu_share=0.25,
    own_gpus=0.0,
)

FLOW: Final = Family(
    name="flow",
    title="flow-matching",
    sampler="Euler",
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
