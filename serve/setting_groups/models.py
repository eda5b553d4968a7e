"""The settings that say which models a service runs."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from cascade_core.checkpoints.checkpoint import ModelSource
from cascade_core.checkpoints.model_folders import DEMO_MODEL
from cascade_core.families.component_folders import Size, Variant
from serve.model_list import read_model_list

_OF_ONE_MODEL = (
    "model",
    "prior_model",
    "model_revision",
    "prior_revision",
    "model_variant",
    "stage_c_size",
    "stage_b_size",
    "previewer_path",
)
"""The fields that say which model is served if there is one alone."""


class ModelSettings(BaseSettings):
    """Which models the service runs; a part of :class:`serve.settings.Settings`."""

    model_config = SettingsConfigDict(protected_namespaces=(), use_attribute_docstrings=True)

    model: str = DEMO_MODEL
    """`demo`, a folder in diffusers layout, or a hub id, see docs/models.md."""
    prior_model: str = ""
    """Folder or hub id of Stage C; empty: the model if it holds a prior, else `<model>-prior`."""
    model_revision: str = ""
    """Full commit of the model's repository; needed for a hub id."""
    prior_revision: str = ""
    """Full commit of Stage C's repository; needed for a hub id."""
    model_variant: Variant = ""
    """`bf16` reads the `*.bf16.safetensors` files."""
    stage_c_size: Size = "full"
    """`lite` picks the small U-Net."""
    stage_b_size: Size = "full"
    """`lite` picks the small U-Net."""
    previewer_path: str = ""
    """Weights of the published Stage C previewer; empty: those in the model's folders, if any."""
    models: str = ""
    """Several models instead of `CASCADE_MODEL`, the default first: names, folders or pinned hub
    ids (`id@commit`) with commas, or the path of a `.toml` file, see docs/models.md."""

    @model_validator(mode="after")
    def _one_way_to_name_models(self) -> Self:
        beside = [name for name in _OF_ONE_MODEL if name in self.model_fields_set]
        if self.models and beside:
            names = " and ".join(f"CASCADE_{name.upper()}" for name in beside)
            raise ValueError(f"CASCADE_MODELS names several models, so {names} must not be set")
        return self

    def model_sources(self) -> tuple[ModelSource, ...]:
        """Return the models to open; the first is that of requests that name none.

        Raises:
            SettingsInvalid: the file that lists them cannot be read.
        """
        return read_model_list(self.models) if self.models else (self._only_source(),)

    def model_source(self) -> ModelSource:
        """Return the first model to open; raises as :meth:`model_sources`."""
        return self.model_sources()[0]

    def _only_source(self) -> ModelSource:
        return ModelSource(
            model=self.model,
            prior_model=self.prior_model,
            revision=self.model_revision,
            prior_revision=self.prior_revision,
            variant=self.model_variant,
            prior_size=self.stage_c_size,
            decoder_size=self.stage_b_size,
            previewer=self.previewer_path,
        )
