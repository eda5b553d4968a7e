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
_OF_MODEL: Final = "@"
_DEPLOYMENT: Final = "Stage"


@dataclass(frozen=True, slots=True, kw_only=True)
class StageInfo:
    """A stage as ``GET /v1/models`` describes it.

    Attributes:
        name: as in metrics, events and settings; lower-case letters and digits.
        title: for people, such as ``C composing``.
        share: part of a whole job that progress bars give it; shares of all stages sum to 1.
        keeps_output: its output is stored for later jobs; clients read it as ``is_stored``.
        draws_details: it draws details of its own, from ``decoder_seed``, on what it takes.
        scales: it can draw what it takes at another size of one aspect.
        model_suffix: of the model that it belongs to, where a service has several; empty for the
            first.
    """

    name: str
    title: str
    share: float
    keeps_output: bool = False
    draws_details: bool = False
    scales: bool = False
    model_suffix: str = ""

    @property
    def key(self) -> str:
        """Its name among the stages of all models of a service, such as ``c`` or ``c@other``."""
        return f"{self.name}{_OF_MODEL}{self.model_suffix}" if self.model_suffix else self.name

    @property
    def deployment(self) -> str:
        """The name of its Ray Serve deployment, such as ``StageC`` or ``StageC@other``."""
        return deployment_name(self.key)

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


def deployment_name(key: str) -> str:
    """Return the name of a stage's Ray Serve deployment, such as ``StageC``."""
    name, at, model = key.partition(_OF_MODEL)
    return f"{_DEPLOYMENT}{name.capitalize()}{at}{model}"


def stage_name(key: str) -> str:
    """Return the name of a stage in its model, such as ``c`` of ``c@other``."""
    return key.partition(_OF_MODEL)[0]


def key_of_deployment(deployment: str) -> str | None:
    """Return the key of the stage with such a deployment; None if it is no stage's."""
    name, at, model = deployment.removeprefix(_DEPLOYMENT).partition(_OF_MODEL)
    key = f"{name.lower()}{at}{model}"
    is_stage = bool(STAGE_NAME.fullmatch(name.lower())) and deployment_name(key) == deployment
    return key if is_stage else None


def stages_of(model: Mapping[str, Any]) -> tuple[StageInfo, ...]:
    """Return the stages that an entry of ``GET /v1/models`` lists; an older service lists none."""
    return tuple(
        StageInfo(
            name=stage["name"],
            title=stage["title"],
            share=stage["share"],
            keeps_output=stage["is_stored"],
            # An older service runs Stable Cascade alone.
            draws_details=stage.get("draws_details", True),
            scales=stage.get("scales", True),
        )
        for stage in model.get("stages", ())
    )
