"""A family of two stages that keeps no output and loads no weights."""

from __future__ import annotations

from cascade_core.families.spec import Family, StageSpec
from cascade_core.request import GenerationRequest


def _work(_request: GenerationRequest) -> float:
    return 1.0


def _steps(_request: GenerationRequest) -> int:
    return 1


TWO_STAGES = Family(
    name="two_stages",
    stages=(
        StageSpec(
            name="choose",
            title="choosing",
            model="tests.ray.families.plain_colour:Choose",
            output="tests.ray.families.plain_colour:Colour",
            components=(),
            work=_work,
            steps=_steps,
            share=0.2,
            gpu_share=0.5,
        ),
        StageSpec(
            name="paint",
            title="painting",
            model="tests.ray.families.plain_colour:Paint",
            components=(),
            work=_work,
            steps=_steps,
            share=0.8,
            gpu_share=0.5,
        ),
    ),
)
