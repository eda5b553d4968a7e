"""What clients of the service know of a stage."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

STAGE_NAME: Final = re.compile(r"[a-z][a-z0-9]{0,15}")
"""The database has room for 16 characters."""
LATENT_USE_KEY: Final = "stage_c"
"""The key, in an image's JSON and in archives, of how the image got its latent. It is named after
Stable Cascade's stage and the same for every family."""
_COST_SUFFIX: Final = "_s"


@dataclass(frozen=True, slots=True, kw_only=True)
class StageInfo:
    """A stage as ``GET /v1/models`` describes it.

    Attributes:
        name: as in metrics, events and settings; lower-case letters and digits.
        title: for people, such as ``C composing``.
        share: part of a whole job that progress bars give it; shares of all stages sum to 1.
        keeps_output: its output is stored for later jobs; clients read it as ``is_stored``.
    """

    name: str
    title: str
    share: float
    keeps_output: bool = False

    @property
    def deployment(self) -> str:
        """The name of its Ray Serve deployment, such as ``StageC``."""
        return deployment_name(self.name)

    @property
    def cost_key(self) -> str:
        """The name of its seconds in a job's cost, such as ``c_s``."""
        return cost_key(self.name)


def cost_key(stage: str) -> str:
    """Return the name of a stage's seconds in a job's cost, such as ``c_s``."""
    return stage + _COST_SUFFIX


def stage_of_cost(key: str) -> str | None:
    """Return the stage whose seconds :func:`cost_key` names; None if it names no stage's."""
    stage = key.removesuffix(_COST_SUFFIX)
    return stage if stage != key and STAGE_NAME.fullmatch(stage) else None


def deployment_name(stage: str) -> str:
    """Return the name of a stage's Ray Serve deployment, such as ``StageC``."""
    return f"Stage{stage.capitalize()}"


def stages_of(model: Mapping[str, Any]) -> tuple[StageInfo, ...]:
    """Return the stages that an entry of ``GET /v1/models`` lists; an older service lists none."""
    return tuple(
        StageInfo(
            name=stage["name"],
            title=stage["title"],
            share=stage["share"],
            keeps_output=stage["is_stored"],
        )
        for stage in model.get("stages", ())
    )
