"""Where a model's files are and what its configuration says; reads JSON, loads no weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from cascade_core.errors import ModelUnavailable
from cascade_core.geometry import Geometry

DEMO_MODEL = "demo"
DEMO_MODEL_DIR = Path(__file__).parent / "demo_model"
STABLE_CASCADE_LICENCE = (
    "Stability AI Non-Commercial Research Community License: no commercial use of these weights"
)

Size = Literal["full", "lite"]
Variant = Literal["", "bf16"]

_SAMPLE_BYTES = 64 * 1024
_SAMPLES_PER_FILE = 16
_HUB_COMMIT_CHARS = 40


@dataclass(frozen=True, slots=True)
class ModelSource:
    """Which model to open, as configured.

    Attributes:
        model: ``demo``, a folder, or a hub id such as ``stabilityai/stable-cascade``.
        prior_model: folder or hub id with Stage C; empty: the same folder if it holds a prior,
            else ``<model>-prior``.
        revision, prior_revision: pinned commits; needed for hub ids.
        variant: ``bf16`` picks the ``*.bf16.safetensors`` files.
        stage_c_size, stage_b_size: ``lite`` picks the smaller U-Nets.
    """

    model: str = DEMO_MODEL
    prior_model: str = ""
    revision: str = ""
    prior_revision: str = ""
    variant: Variant = ""
    stage_c_size: Size = "full"
    stage_b_size: Size = "full"

    @property
    def is_hub(self) -> bool:
        """Tell whether the model must be fetched by hub id; only then is the network used."""
        return self.model != DEMO_MODEL and not Path(self.model).expanduser().is_dir()


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDefaults:
    """What a request gets where it names no value; a model folder's ``cascade.json`` overrides."""

    width: int = 1024
    height: int = 1024
    max_side: int = 2048
    steps: int = 20
    guidance_scale: float = 4.0
    decoder_steps: int = 10
    decoder_guidance_scale: float = 0.0
    suggestions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """An opened model: folders, configuration and identity.

    Attributes:
        components: component name (``prior``, ``text_encoder``, ``tokenizer``, ``decoder``,
            ``vqgan``) to its folder.
        previewer: the published previewer's weights or ``preview.json``, where present.
    """

    id: str
    revision: str
    fingerprint: str
    licence: str
    geometry: Geometry
    defaults: ModelDefaults
    components: dict[str, Path] = field(repr=False)
    variant: Variant = ""

    def component(self, name: str) -> Path:
        """Return the folder of a component.

        Raises:
            ModelUnavailable: the model has no such component.
        """
        if name not in self.components:
            raise ModelUnavailable(f"model {self.id} has no {name} folder")
        return self.components[name]

    def weight_file(self, name: str) -> Path:
        """Return a component's safetensors file.

        Raises:
            ModelUnavailable: the file is missing; names the path that was expected.
        """
        return weight_file(self.component(name), self.variant)


def weight_file(folder: Path, variant: Variant) -> Path:
    """Return the safetensors file in a component's folder; see :meth:`Checkpoint.weight_file`."""
    stems = ("diffusion_pytorch_model", "model")
    suffix = f".{variant}.safetensors" if variant else ".safetensors"
    for stem in stems:
        if (folder / (stem + suffix)).is_file():
            return folder / (stem + suffix)
    expected = folder / (stems[0] + suffix)
    raise ModelUnavailable(f"weights are missing: {expected} does not exist")
