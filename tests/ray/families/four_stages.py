"""Stable Cascade with one more stage, between Stages B and A."""

from __future__ import annotations

from dataclasses import replace

from cascade_core.families.spec import Family, StageSpec
from cascade_core.families.stable_cascade import STAGE_A, STAGE_B, STAGE_C
from cascade_core.request import GenerationRequest


def _work(_request: GenerationRequest) -> float:
    return 1.0


def _steps(_request: GenerationRequest) -> int:
    return 1


FOUR_STAGES = Family(
    name="four_stages",
    stages=(
        STAGE_C,
        replace(STAGE_B, share=0.25),
        StageSpec(
            name="touch",
            title="touching up",
            model="tests.ray.families.touch_up:TouchUp",
            output="cascade_core.handoff:StageBLatent",
            components=(),
            work=_work,
            steps=_steps,
            share=0.1,
            gpu_share=0.25,
        ),
        STAGE_A,
    ),
)
