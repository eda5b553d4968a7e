"""Stable Cascade: Stage C composes, Stage B adds details, Stage A decodes to pixels.

The encoder turns an upload into a latent from which Stage C starts.
"""

from __future__ import annotations

from typing import Final

from cascade_core.families.cascade_work import (
    composing_steps,
    composing_work,
    decoding_work,
    detailing_steps,
    detailing_work,
    megapixels,
    one_step,
)
from cascade_core.families.component_folders import ComponentFolders
from cascade_core.families.licence import Licence
from cascade_core.families.spec import Family, StageSpec
from cascade_core.operations.fields import MAX_STEPS
from cascade_core.request import GenerationRequest

ENCODER_PASSES: Final = 0.02
"""One encoding by the published encoder (67 of 4078 GFLOP), in passes of Stage C."""


def _encoder_work(request: GenerationRequest) -> float:
    return ENCODER_PASSES * megapixels(request)


STAGE_C: Final = StageSpec(
    name="c",
    title="C composing",
    model="cascade_core.stages.stage_c:StageC",
    output="cascade_core.handoff:StageCLatent",
    components=("prior", "text_encoder", "tokenizer"),
    work=composing_work,
    steps=composing_steps,
    max_previews=MAX_STEPS,
    share=0.6,
    gpu_share=0.5,
    keeps_output=True,
)
STAGE_B: Final = StageSpec(
    name="b",
    title="B detailing",
    model="cascade_core.stages.stage_b:StageB",
    output="cascade_core.handoff:StageBLatent",
    components=("decoder", "vqgan"),  # its previewer may be fitted to Stage A
    work=detailing_work,
    steps=detailing_steps,
    max_previews=1,
    share=0.35,
    gpu_share=0.25,
    draws_details=True,
    scales=True,
)
STAGE_A: Final = StageSpec(
    name="a",
    title="A decoding",
    model="cascade_core.stages.stage_a:StageA",
    components=("vqgan",),
    work=decoding_work,
    steps=one_step,
    share=0.05,
    gpu_share=0.25,
    own_gpus=0.0,
)

ENCODER: Final = StageSpec(
    name="e",
    title="E encoding",
    model="cascade_core.stages.image_encoder:ImageEncoder",
    output="cascade_core.handoff:EncodedImage",
    source="cascade_core.images.stored_upload:StoredUpload",
    components=(),
    work=_encoder_work,
    steps=one_step,
    share=0.0,
    gpu_share=0.0,  # the stages share one whole GPU, and a CPU encodes a picture in a second
    own_gpus=0.0,
)

LICENCE: Final = Licence(
    "Stability AI Non-Commercial Research Community License: no commercial use of these weights",
    hosting="forbidden",
    commercial="forbidden",
)
UNSTATED_LICENCE: Final = Licence(
    "not stated; the published Stable Cascade weights are for non-commercial use only"
)

STABLE_CASCADE: Final = Family(
    name="stable_cascade",
    title="Stable Cascade",
    classes=(
        "StableCascadeCombinedPipeline",
        "StableCascadeDecoderPipeline",
        "StableCascadePriorPipeline",
    ),
    folders={
        "prior": ComponentFolders(choices=("prior", "prior_prior"), in_prior=True, has_lite=True),
        "text_encoder": ComponentFolders(
            choices=("prior_text_encoder", "text_encoder"), in_prior=True
        ),
        "tokenizer": ComponentFolders(choices=("prior_tokenizer", "tokenizer"), in_prior=True),
        "prior_scheduler": ComponentFolders(
            choices=("prior_scheduler", "scheduler"), in_prior=True
        ),
        "decoder": ComponentFolders(choices=("decoder",), has_lite=True),
        "vqgan": ComponentFolders(choices=("vqgan",)),
        "decoder_scheduler": ComponentFolders(choices=("scheduler",)),
    },
    licences={"stabilityai/": LICENCE},
    unstated_licence=UNSTATED_LICENCE,
    sampler="DDPM Wuerstchen",
    stages=(STAGE_C, STAGE_B, STAGE_A),
    encoder=ENCODER,
)
