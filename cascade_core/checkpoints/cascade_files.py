"""Opens a model that is made of a prior and a decoder, in one folder or in two repositories."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection
from dataclasses import astuple
from math import inf
from pathlib import Path
from typing import Any

from cascade_core.checkpoints import layout
from cascade_core.checkpoints.about import read_about, read_optional
from cascade_core.checkpoints.checkpoint import Checkpoint, ModelSource
from cascade_core.checkpoints.model_folders import (
    EMBEDDED,
    ModelRoot,
    folder_of,
    is_folder,
    model_id,
    open_root,
)
from cascade_core.errors import ModelUnavailable
from cascade_core.families.component_folders import folders_of_sizes
from cascade_core.families.licence import strictest
from cascade_core.families.spec import Family
from cascade_core.geometry import Geometry

_MAX_FACTOR, _MAX_LEVELS = 64, 16


def open_cascade(
    family: Family, source: ModelSource, components: Collection[str], cached_only: bool
) -> Checkpoint:
    """Find the files of a model of a prior and a decoder; see :attr:`Family.opener`.

    Raises:
        ModelUnavailable: something is missing or unreadable; names it and the remedy.
    """
    folders = folders_of_sizes(family.folders, source.prior_size, source.decoder_size)
    prior_root, decoder_root = _open_roots(family, source, components, cached_only)
    roots = {True: prior_root.path, False: decoder_root.path}
    found = layout.find_components(
        {name: (roots[family.folders[name].in_prior], folders[name]) for name in folders}
    )
    for name in components:
        if name not in found:
            raise ModelUnavailable(
                f"{roots[family.folders[name].in_prior]} has no {' or '.join(folders[name])} "
                f"folder: the model setting must name a {family.title} model in diffusers layout"
            )
        layout.check_files(found[name], name, source.variant)
    about = read_about(decoder_root.path, family.defaults)
    names = (decoder_root.name, prior_root.name)
    licence = strictest([family.licence(name, about.licence) for name in names])
    fingerprint = _fingerprint(family, source, prior_root, decoder_root, found)
    return Checkpoint(
        family=family.name,
        id=model_id(decoder_root, about.name),
        revision=decoder_root.commit or fingerprint[:12],
        fingerprint=fingerprint,
        licence=licence.text,
        hosting=licence.hosting,
        commercial=licence.commercial,
        trained_on=about.trained_on,
        weaknesses=about.weaknesses,
        geometry=_read_geometry(prior_root.path, decoder_root.path, found),
        defaults=about.defaults,
        components=found,
        max_rows=about.max_rows,
        variant=source.variant,
        previewer=_find_previewer(source, prior_root.path, decoder_root.path),
        picture_encoder=layout.find_picture_encoder(decoder_root.path, prior_root.path)
        if family.encoder
        else None,
    )


def _open_roots(
    family: Family, source: ModelSource, components: Collection[str], cached_only: bool
) -> tuple[ModelRoot, ModelRoot]:
    folders = folders_of_sizes(family.folders, source.prior_size, source.decoder_size)
    patterns = layout.hub_patterns(folders, components, source.variant)
    decoder_root = open_root(source.model, source.revision, patterns, cached_only)
    if source.prior_model:
        prior_name = source.prior_model
    elif source.model in EMBEDDED or _holds_prior(family, decoder_root.path):
        prior_name = source.model
    else:
        prior_name = f"{source.model.rstrip('/')}-prior"
    if prior_name == source.model:
        return decoder_root, decoder_root
    if not (source.prior_model or decoder_root.commit or is_folder(folder_of(prior_name))):
        raise ModelUnavailable(
            f"{decoder_root.path} has no prior folder and {folder_of(prior_name)} does not exist: "
            "set the prior model to a folder or hub id with Stage C"
        )
    # Both repositories may name a folder alike, such as that of a text encoder.
    of_prior = [name for name in components if family.folders[name].in_prior]
    patterns = layout.hub_patterns(folders, of_prior, source.variant)
    return open_root(prior_name, source.prior_revision, patterns, cached_only), decoder_root


def _holds_prior(family: Family, folder: Path) -> bool:
    """Return True if a folder has the prior's network, of any size."""
    prior = family.folders["prior"]
    names = {*prior.of_size("full"), *prior.of_size("lite")}
    return any((folder / name).is_dir() for name in names)


def _fingerprint(
    family: Family,
    source: ModelSource,
    prior_root: ModelRoot,
    decoder_root: ModelRoot,
    found: dict[str, Path],
) -> str:
    if not (prior_root.commit and decoder_root.commit):
        return layout.fingerprint_files(family.components, found, source.variant)
    # A stage's process downloads only its own part, so files cannot identify the whole model.
    chosen = (prior_root.name, prior_root.commit, decoder_root.name, decoder_root.commit)
    sizes = (source.variant, source.prior_size, source.decoder_size)
    return hashlib.sha256("\n".join(chosen + sizes).encode()).hexdigest()


def _read_geometry(prior_root: Path, decoder_root: Path, found: dict[str, Path]) -> Geometry:
    """Read the three scales; keys that are absent have the published model's values."""
    prior = read_optional(prior_root / "model_index.json")
    decoder = read_optional(decoder_root / "model_index.json")
    vqgan = layout.read_json(found["vqgan"] / "config.json") if "vqgan" in found else {}
    default = Geometry()
    try:
        factor = _whole(vqgan, "up_down_scale_factor", _MAX_FACTOR)
        geometry = Geometry(
            resolution_multiple=float(
                prior.get("resolution_multiple", default.resolution_multiple)
            ),
            latent_dim_scale=float(decoder.get("latent_dim_scale", default.latent_dim_scale)),
            stage_a_factor=factor ** _whole(vqgan, "levels", _MAX_LEVELS),
        )
        if not all(0 < scale < inf for scale in astuple(geometry)):
            raise ValueError("scales must be more than 0")
    except (TypeError, ValueError, OverflowError) as error:
        raise ModelUnavailable(f"{decoder_root} has a scale that cannot be: {error}") from error
    return geometry


def _whole(vqgan: dict[str, Any], name: str, most: int) -> int:
    value = int(vqgan.get(name, 2))
    if not 1 <= value <= most:
        raise ValueError(f"{name} must be from 1 to {most}")
    return value


def _find_previewer(source: ModelSource, prior_root: Path, decoder_root: Path) -> Path | None:
    if source.previewer:
        configured = Path(os.path.expanduser(source.previewer))
        if not configured.is_file():
            raise ModelUnavailable(f"previewer {configured} does not exist")
        return configured
    for name in (layout.PREVIEWER_FILE, "preview.json"):
        for root in (decoder_root, prior_root):
            if (root / name).is_file():
                return root / name
    return None
