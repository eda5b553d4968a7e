"""Names of stages in the OpenAPI document: in keys, in values and in ``/v1/models``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cascade_core.checkpoints.weight_sizes import WeightSize
from cascade_core.families.spec import Family, StageSpec
from serve.gateway.schemas.service import ModelStage

_NULL = {"type": "null"}


def stage_details(family: Family, sizes: Mapping[str, WeightSize]) -> list[ModelStage]:
    """Return what clients are told of the stages.

    Args:
        family: whose stages.
        sizes: of their weights by their names, where they are known.
    """
    return [_details(stage, sizes.get(stage.name)) for stage in family.stages]


def _details(stage: StageSpec, size: WeightSize | None) -> ModelStage:
    return ModelStage(
        name=stage.name,
        title=stage.title,
        share=stage.share,
        is_stored=stage.keeps_output,
        draws_details=stage.draws_details,
        scales=stage.scales,
        parameters=size and size.parameters,
        weight_bytes=size and size.size_bytes,
    )


def describe_stages(schemas: dict[str, Any], families: Iterable[Family]) -> None:
    """Complete the schemas whose keys and values are named after stages.

    Args:
        schemas: the document's components; they are changed in place.
        families: whose stages run.
    """
    stages = {stage.name: stage for family in families for stage in family.all_stages}
    in_all = set.intersection(*(set(family.names) for family in families))
    stage = {"type": "string", "enum": list(stages)}
    schemas["JobAnswer"]["properties"]["stage"] = {"anyOf": [stage, _NULL], "title": "Stage"}
    costs = {
        stage.cost_key: {"type": "number", "description": stage.title} for stage in stages.values()
    }
    schemas["Cost"].pop("additionalProperties", None)  # FastAPI keeps the document that it made
    schemas["Cost"] |= {
        "properties": costs,
        "required": [stage.cost_key for stage in stages.values() if stage.name in in_all],
    }
