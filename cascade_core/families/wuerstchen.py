"""Würstchen v2: three stages as Stable Cascade has, and a text encoder in both that draw.

Stage B draws details with a text encoder of its own, so Stage C hands over its latent alone. Work
counts as for Stable Cascade: at 1024 px one pass of the published Stage B has about twice the
operations of one of Stage C.
"""

from __future__ import annotations

from typing import Final

from cascade_core.families.cascade_work import (
    composing_steps,
    composing_work,
    decoding_work,
    detailing_steps,
    detailing_work,
    one_step,
)
from cascade_core.families.component_folders import ComponentFolders
from cascade_core.families.licence import Licence, stated_licence
from cascade_core.families.spec import Family, StageSpec
from cascade_core.model_defaults import ModelDefaults
from cascade_core.operations.fields import MAX_STEPS

DEFAULTS: Final = ModelDefaults(
    width=1024, height=1024, steps=60, guidance_scale=4.0, decoder_steps=12
)
"""Those of WuerstchenCombinedPipeline, diffusers 0.42.1, at the size of the model's training.

With 60 evenly spaced steps the first third of the noise schedule, which settles the composition,
gets 20; the 29 uneven ones that diffusers recommends (DEFAULT_STAGE_C_TIMESTEPS) give it 19.
"""

STAGE_C: Final = StageSpec(
    name="c",
    title="C composing",
    model="cascade_core.stages.wuerstchen_c:WuerstchenC",
    output="cascade_core.handoff:WuerstchenLatent",
    components=("prior", "text_encoder", "tokenizer"),
    work=composing_work,
    steps=composing_steps,
    max_previews=MAX_STEPS,
    share=0.75,
    gpu_share=0.5,
    keeps_output=True,
)
STAGE_B: Final = StageSpec(
    name="b",
    title="B detailing",
    model="cascade_core.stages.wuerstchen_b:WuerstchenB",
    output="cascade_core.handoff:StageBLatent",
    components=("decoder", "decoder_text_encoder", "decoder_tokenizer", "vqgan"),
    work=detailing_work,
    steps=detailing_steps,
    max_previews=1,
    share=0.2,
    gpu_share=0.25,
    draws_details=True,  # but at no other size: its training at one ratio alone is known
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

WUERSTCHEN: Final = Family(
    name="wuerstchen",
    title="Würstchen v2",
    sampler="DDPM Wuerstchen",
    classes=(
        "WuerstchenCombinedPipeline",
        "WuerstchenDecoderPipeline",
        "WuerstchenPriorPipeline",
    ),
    folders={
        "prior": ComponentFolders(choices=("prior", "prior_prior"), in_prior=True),
        "text_encoder": ComponentFolders(
            choices=("prior_text_encoder", "text_encoder"), in_prior=True
        ),
        "tokenizer": ComponentFolders(choices=("prior_tokenizer", "tokenizer"), in_prior=True),
        "prior_scheduler": ComponentFolders(
            choices=("prior_scheduler", "scheduler"), in_prior=True
        ),
        "decoder": ComponentFolders(choices=("decoder",)),
        "decoder_text_encoder": ComponentFolders(choices=("text_encoder",)),
        "decoder_tokenizer": ComponentFolders(choices=("tokenizer",)),
        "vqgan": ComponentFolders(choices=("vqgan",)),
        "decoder_scheduler": ComponentFolders(choices=("scheduler",)),
    },
    defaults=DEFAULTS,
    licences={"warp-ai/": stated_licence("MIT")},
    unstated_licence=Licence(
        "not stated; the published Würstchen weights are under the MIT licence"
    ),
    stages=(STAGE_C, STAGE_B, STAGE_A),
)
