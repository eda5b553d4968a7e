"""What our manifests state about a picture (C2PA specification 2.2, claims of version 2).

They name the model and how the picture came about. They hold no prompt, no id and no person: a copy
without metadata has the manifest of its original inside.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

from cascade_core.images.ai_mark import SOURCE_TYPE
from cascade_core.operations.fields import ImageFormat
from serve.release import RELEASE

MAX_MANIFESTS: Final = 2
"""Of a source that becomes an ingredient: a picture shows two generations before it at most, as
each takes 5.5 KB of every later file."""
INGREDIENT: Final = "source"
"""Joins an ingredient and the action that used it."""

Absence = Literal["deleted", "unreadable", "not_made_yet", "too_many_generations", "upload"]
"""Why the picture that another one was made from is no ingredient of it."""
EditAction = Literal[
    "c2pa.converted", "c2pa.cropped", "c2pa.resized", "c2pa.edited", "c2pa.edited.metadata"
]
"""What was done to a picture after it was made, in C2PA's words."""
Training = Literal["allowed", "notAllowed", "constrained"]
"""The use of a picture for training and data mining, in CAWG's words."""

_SYSTEM: Final = {"name": "Cascade Serve", "version": RELEASE}
_MANIFEST_MARK: Final = b"jumdc2pa"
"""In the three formats a manifest is a JUMBF box of this type, in one piece (ISO 19566-5)."""
_MINING: Final = ("ai_generative_training", "ai_training", "ai_inference", "data_mining")
"""CAWG Training and Data Mining Assertion 1.1, 2.1."""


@dataclass(frozen=True, slots=True)
class ModelPassport:
    """The model that made a picture."""

    id: str
    revision: str
    fingerprint: str
    licence: str


@dataclass(frozen=True, slots=True)
class PictureFile:
    """A picture's file, signed or not."""

    data: bytes
    image_format: ImageFormat

    @property
    def media_type(self) -> str:
        """Its media type."""
        return f"image/{self.image_format}"

    @property
    def has_manifest(self) -> bool:
        """Return True if it has a C2PA manifest, valid or not."""
        return _MANIFEST_MARK in self.data


@dataclass(frozen=True, slots=True)
class Watermark:
    """An invisible mark in a picture's pixels.

    Attributes:
        algorithm: that put it there and finds it.
        payload: what it says, in hexadecimal digits.
    """

    algorithm: str
    payload: str


@dataclass(frozen=True, slots=True)
class Origin:
    """How a new picture came about.

    Attributes:
        model: that made it.
        operation: the kind of job.
        source: the picture that it was made from, or why that is not included; None: it was made
            from a prompt alone.
        watermark: in its pixels; None: there is none.
    """

    model: ModelPassport
    operation: str
    source: PictureFile | Absence | None = None
    watermark: Watermark | None = None


def new_picture(origin: Origin, training: Training) -> dict[str, Any]:
    """Return the manifest of a picture that a model has made."""
    model = {
        "id": origin.model.id,
        "revision": origin.model.revision,
        "fingerprint": origin.model.fingerprint,
        "licence": origin.model.licence,
    }
    parameters: dict[str, Any] = {"model": model, "operation": origin.operation}
    if isinstance(origin.source, PictureFile):
        parameters["ingredientIds"] = [INGREDIENT]
    elif origin.source is not None:
        parameters["source_not_included"] = origin.source
    created = {
        "action": "c2pa.created",
        "digitalSourceType": SOURCE_TYPE,
        "softwareAgent": _SYSTEM,
        "parameters": parameters,
    }
    if origin.watermark is None:
        return _manifest([created], training)
    marked = {"action": "c2pa.watermarked.bound", "softwareAgent": _SYSTEM}
    manifest = _manifest([created, marked], training)
    manifest["assertions"].append(_soft_binding(origin.watermark))
    return manifest


def edited_picture(actions: list[EditAction], training: Training) -> dict[str, Any]:
    """Return the manifest of a picture that was made of another one without a model."""
    done = [{"action": action, "softwareAgent": _SYSTEM} for action in actions]
    return _manifest(done, training)


def _soft_binding(watermark: Watermark) -> dict[str, Any]:
    """Return what lets a picture without its manifest be found again (specification 2.2, 18.11)."""
    blocks = [{"scope": {}, "value": watermark.payload}]
    return {"label": "c2pa.soft-binding", "data": {"alg": watermark.algorithm, "blocks": blocks}}


def _manifest(actions: list[dict[str, Any]], training: Training) -> dict[str, Any]:
    entries = {f"cawg.{name}": {"use": training} for name in _MINING}
    return {
        "claim_generator_info": [_SYSTEM],
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": actions}},
            {"label": "cawg.training-mining", "data": {"entries": entries}},
        ],
    }
