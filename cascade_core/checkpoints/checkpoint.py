"""Finds a model's files and reads its configuration; it loads no weights."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from cascade_core.checkpoints import layout
from cascade_core.checkpoints.about import read_optional
from cascade_core.checkpoints.model_folders import (
    DEMO_MODEL,
    check_hub_id,
    folder_of,
    is_folder,
    open_root,
)
from cascade_core.errors import ModelUnavailable
from cascade_core.families.component_folders import Size, Variant
from cascade_core.families.licence import Term
from cascade_core.families.registry import FAMILIES, UNNAMED, family_of_class
from cascade_core.families.spec import Family
from cascade_core.geometry import Geometry
from cascade_core.model_defaults import ModelDefaults

INDEX_FILES = ("model_index.json", "modular_model_index.json")
"""Name the class of a model's pipeline; the first that exists counts."""


@dataclass(frozen=True, slots=True)
class ModelSource:
    """Which model to open, as configured.

    Attributes:
        model: ``demo``, a folder, or a hub id such as ``stabilityai/stable-cascade``.
        prior_model: folder or hub id with Stage C; empty: the same folder if it holds a prior,
            else ``<model>-prior``.
        revision, prior_revision: pinned commits; needed for hub ids.
        variant: ``bf16`` picks the ``*.bf16.safetensors`` files.
        prior_size, decoder_size: ``lite`` picks the smaller U-Nets.
        previewer: the published previewer's weights; empty: look in the model's folders.
    """

    model: str = DEMO_MODEL
    prior_model: str = ""
    revision: str = ""
    prior_revision: str = ""
    variant: Variant = ""
    prior_size: Size = "full"
    decoder_size: Size = "full"
    previewer: str = ""

    @property
    def is_hub(self) -> bool:
        """Return True if a part must be fetched by hub id; only then is the network used."""
        return any(
            name and not is_folder(folder_of(name)) for name in (self.model, self.prior_model)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """An opened model: folders, configuration and identity.

    Attributes:
        family: the name of its family in `cascade_core.families.registry`.
        id: ``demo``, the folder's name or the hub id.
        revision: the pinned commit; for folders the first digits of the fingerprint.
        fingerprint: equal means the same weights and configuration.
        licence: of the weights, for people.
        hosting, commercial: what it allows, see :class:`cascade_core.families.licence.Licence`.
        trained_on, weaknesses: what the model says of itself; empty if nothing.
        components: component name (``prior``, ``text_encoder``, ``tokenizer``, ``decoder``,
            ``vqgan``, ``prior_scheduler``, ``decoder_scheduler``) to its folder.
        max_rows: how many images may share a step, by device (``cpu``, ``cuda``) and stage, where
            the model states it; see :meth:`cascade_core.families.spec.Family.max_rows`.
        variant: which weight files to read, see :class:`ModelSource`.
        previewer: the published previewer's weights or ``preview.json``, where present.
        picture_encoder: ``effnet_encoder.safetensors`` or the folder ``latent_encoder``, where
            present: what turns pictures into Stage C latents.
    """

    family: str
    id: str
    revision: str
    fingerprint: str
    licence: str
    geometry: Geometry
    defaults: ModelDefaults
    components: dict[str, Path] = field(repr=False)
    max_rows: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    variant: Variant = ""
    previewer: Path | None = None
    picture_encoder: Path | None = None
    hosting: Term = "check"
    commercial: Term = "check"
    trained_on: str = ""
    weaknesses: tuple[str, ...] = ()

    def component(self, name: str) -> Path:
        """Return the folder of a component.

        Raises:
            ModelUnavailable: the model has no such component.
        """
        if name not in self.components:
            raise ModelUnavailable(f"model {self.id} has no {name} folder")
        return self.components[name]

    def weight_files(self, name: str) -> tuple[Path, ...]:
        """Return a component's safetensors files: one, or all shards.

        Raises:
            ModelUnavailable: the file is missing; names the path that was expected.
        """
        return layout.weight_files(self.component(name), self.variant)


def check_names(source: ModelSource) -> None:
    """Check without the network that each configured name is a folder or a pinned hub id.

    Raises:
        ModelUnavailable: one is neither; names it and the remedy.
    """
    prior = (source.prior_model, source.prior_revision)
    for name, revision in ((source.model, source.revision), prior):
        if name and not is_folder(folder_of(name)):
            check_hub_id(name, revision)


def find_family(source: ModelSource, *, cached_only: bool = False) -> Family:
    """Return the family of a model, which its ``model_index.json`` names.

    Args:
        source: the model as configured.
        cached_only: do not use the network.

    Raises:
        ModelUnavailable: no family runs such a model, or the file is missing or unreadable.
    """
    try:
        if source.is_hub:
            # A pinned commit never changes: what is cached needs no network.
            with suppress(ModelUnavailable):
                return _find_family(source, cached_only=True)
        return _find_family(source, cached_only=cached_only)
    except OSError as error:
        raise ModelUnavailable(f"{error.filename}: {error.strerror}") from error


def open_checkpoint(source: ModelSource, components: Collection[str] | None = None) -> Checkpoint:
    """Find a model's files and read its configuration.

    Args:
        source: the model as configured.
        components: the parts that this process loads, see ``StageSpec.components``; only these
            are downloaded from a hub, and only these must exist. None: all parts.

    Raises:
        ModelUnavailable: something is missing or unreadable; names it and the remedy.
    """
    family = find_family(source)
    parts = family.components if components is None else components
    open_model: Callable[..., Checkpoint] = family.opener_function()
    try:
        if source.is_hub:
            # A pinned commit never changes: if all of it is cached, the network is not needed.
            with suppress(ModelUnavailable):
                return open_model(family, source, parts, cached_only=True)
        return open_model(family, source, parts, cached_only=False)
    except OSError as error:
        raise ModelUnavailable(f"{error.filename}: {error.strerror}") from error


def _find_family(source: ModelSource, *, cached_only: bool) -> Family:
    root = open_root(source.model, source.revision, list(INDEX_FILES), cached_only)
    for name in INDEX_FILES:
        class_name = read_optional(root.path / name).get("_class_name")
        if class_name is not None:
            return _family_of(root.path / name, str(class_name))
    return UNNAMED


def _family_of(path: Path, class_name: str) -> Family:
    family = family_of_class(class_name)
    if family is None:
        known = ", ".join(family.title for family in FAMILIES.values())
        raise ModelUnavailable(
            f"{path} names {class_name}, which is no pipeline of a model that runs here: {known}"
        )
    return family
