"""Models that a service runs, without files, and services with other ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cascade_core.checkpoints.checkpoint import Checkpoint, ModelSource
from cascade_core.families.spec import Family
from cascade_core.families.stable_cascade import STABLE_CASCADE
from cascade_core.geometry import Geometry
from cascade_core.model_defaults import ModelDefaults
from serve.gateway.dependencies import Services
from serve.served_models import Models, OpenModel, ServedModel, choose_models
from serve.settings import Settings

CHECKPOINT = Checkpoint(
    family=STABLE_CASCADE.name,
    id="demo",
    revision="r1",
    fingerprint="f1",
    licence="Apache-2.0",
    geometry=Geometry(),
    defaults=ModelDefaults(),
    components={},
)
DEMO = ServedModel(ModelSource(), STABLE_CASCADE)
"""The embedded model, as processes are told of it."""
_GIVEN = (
    "settings",
    "database",
    "blobs",
    "models",
    "jobs",
    "moderator",
    "knows_clients",
)

WITHOUT_LATENTS = Family(
    name="one",
    stages=tuple(replace(stage, keeps_output=False) for stage in STABLE_CASCADE.stages),
)
"""A family that keeps no output, so that it only makes new pictures."""


def served(family: Family = STABLE_CASCADE, checkpoint: Checkpoint = CHECKPOINT) -> Models:
    """Return one model, which is the default."""
    return Models([OpenModel(family, checkpoint)])


def models_of(settings: Settings, family: Family | None = None) -> tuple[ServedModel, ...]:
    """Return the models that settings name; ``family`` runs the only one in place of its own."""
    chosen = choose_models(settings.model_sources())
    return chosen if family is None else (replace(chosen[0], family=family),)


SERVED = served()


def serve_instead(services: Services, family: Family | None = None, **changes: Any) -> None:
    """Exchange the family of the default model, or what is read of its files."""
    model = services.models.default
    services.models = served(family or model.family, replace(model.checkpoint, **changes))


def changed(services: Services, **changes: Any) -> Services:
    """Return services like others, with some of them exchanged."""
    return Services(**{name: getattr(services, name) for name in _GIVEN} | changes)
