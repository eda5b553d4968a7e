"""Names of stages in the OpenAPI document: in keys, in values and in ``/v1/models``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cascade_core.families.spec import Family
from serve.gateway.schemas.service import ModelStage

_NULL = {"type": "null"}


def stage_details(family: Family) -> list[ModelStage]:
    """Return what clients are told of the stages."""
    return [
        ModelStage(
            name=stage.name,
            title=stage.title,
            share=stage.share,
            is_stored=stage.keeps_output,
            draws_details=stage.draws_details,
            scales=stage.scales,
        )
        for stage in family.stages
    ]


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
