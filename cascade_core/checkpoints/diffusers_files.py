"""Opens a model in diffusers' layout: one folder, or two whose stages follow each other."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from pathlib import Path
from typing import Final

from cascade_core.checkpoints.about import read_about
from cascade_core.checkpoints.checkpoint import Checkpoint, ModelSource
from cascade_core.checkpoints.diffusers_index import (
    ModelIndex,
    check_parts,
    fingerprint_parts,
    hub_patterns,
    read_index,
)
from cascade_core.checkpoints.model_folders import ModelRoot, model_id, open_root
from cascade_core.errors import ModelUnavailable
from cascade_core.families.component_folders import Variant
from cascade_core.families.licence import strictest
from cascade_core.families.spec import Family
from cascade_core.geometry import Geometry

PRIOR: Final = "prior_"
"""How the names of components begin that are in the first stage's own model."""
SCHEDULER: Final = "scheduler"
"""The component of every model that has neither weights nor a vocabulary."""
BASE_FOLDER: Final = "base"
"""The folder inside a second stage's model that may hold the first one's."""


def open_diffusers(
    family: Family, source: ModelSource, components: Collection[str], cached_only: bool
) -> Checkpoint:
    """Find the files of a model in diffusers' layout; see :attr:`Family.opener`.

    Raises:
        ModelUnavailable: something is missing or unreadable; names it and the remedy.
    """
    own = [name for name in components if not name.startswith(PRIOR)]
    prior = [name.removeprefix(PRIOR) for name in components if name.startswith(PRIOR)]
    root = open_root(source.model, source.revision, hub_patterns(own, source.variant), cached_only)
    roots = [root]
    found = _parts(family, root, own, source.variant)
    if any(name.startswith(PRIOR) for name in family.components):
        patterns = hub_patterns(prior, source.variant)
        roots.append(_open_prior(source, root, patterns, cached_only))
        parts = _parts(family, roots[1], prior, source.variant, PRIOR)
        found |= {PRIOR + name: folder for name, folder in parts.items()}
    about = read_about(root.path, family.defaults)
    licence = strictest([family.licence(place.name, about.licence) for place in roots])
    fingerprint = _fingerprint(roots, found, source.variant)
    return Checkpoint(
        family=family.name,
        id=model_id(root, about.name),
        revision=root.commit or fingerprint[:12],
        fingerprint=fingerprint,
        licence=licence.text,
        hosting=licence.hosting,
        commercial=licence.commercial,
        trained_on=about.trained_on,
        weaknesses=about.weaknesses,
        geometry=Geometry(),
        defaults=about.defaults,
        components=found,
        max_rows=about.max_rows,
        variant=source.variant,
    )


def _parts(
    family: Family, root: ModelRoot, wanted: Collection[str], variant: Variant, prefix: str = ""
) -> dict[str, Path]:
    """Return the folders of a scheduler, and of those of a family's components that a model has."""
    index = read_index(root.path)
    _check_distilled(family, index)
    check_parts(index, [*wanted, SCHEDULER], variant)
    known = {prefix + SCHEDULER, *family.components}
    return {
        name: root.path / name
        for name in index.classes
        if prefix + name in known and (root.path / name).is_dir()
    }


def _open_prior(
    source: ModelSource, root: ModelRoot, patterns: list[str], cached_only: bool
) -> ModelRoot:
    if source.prior_model:
        return open_root(source.prior_model, source.prior_revision, patterns, cached_only)
    if (root.path / BASE_FOLDER).is_dir():
        return ModelRoot(f"{root.name}/{BASE_FOLDER}", root.path / BASE_FOLDER, root.commit)
    raise ModelUnavailable(
        f"{root.name} refines the pictures of another model: set the prior model to the folder or "
        f"hub id of that one, or put it into {root.path / BASE_FOLDER}"
    )


def _check_distilled(family: Family, index: ModelIndex) -> None:
    if "guidance_scale" in family.lacks and index.values.get("is_distilled") is False:
        raise ModelUnavailable(
            f"{index.path} is of a model that needs guidance: of {family.title} only the distilled "
            "models run here"
        )


def _fingerprint(roots: list[ModelRoot], found: dict[str, Path], variant: Variant) -> str:
    if not all(root.commit for root in roots):
        return fingerprint_parts(found, variant)
    # A stage's process downloads only its own part, so files cannot identify the whole model.
    names = [text for root in roots for text in (root.name, root.commit)]
    return hashlib.sha256("\n".join([*names, variant]).encode()).hexdigest()
