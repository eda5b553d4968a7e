"""Opens a flow model: one folder, whose shared parts may lie in an embedded model's."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from pathlib import Path
from typing import Final

from cascade_core.checkpoints import layout
from cascade_core.checkpoints.about import ABOUT_FILE, read_about, read_optional
from cascade_core.checkpoints.checkpoint import Checkpoint, ModelSource
from cascade_core.checkpoints.model_folders import EMBEDDED, ModelRoot, model_id, open_root
from cascade_core.errors import ModelUnavailable
from cascade_core.families.spec import Family
from cascade_core.geometry import Geometry

LENDER_FIELD: Final = "components_of"
"""In cascade.json: the embedded model whose folder has the parts that this one lacks."""
_PREVIEW_FILE: Final = "preview.json"


def open_flow(
    family: Family, source: ModelSource, components: Collection[str], cached_only: bool
) -> Checkpoint:
    """Find the files of a flow model; see :attr:`cascade_core.families.spec.Family.opener`.

    Raises:
        ModelUnavailable: something is missing or unreadable; names it and the remedy.
    """
    folders = {name: place.choices for name, place in family.folders.items()}
    patterns = layout.hub_patterns(folders, components, source.variant)
    root = open_root(source.model, source.revision, patterns, cached_only)
    places = [root.path, *_lenders(root)]
    found: dict[str, Path] = {}
    for place in reversed(places):
        found |= layout.find_components({name: (place, folders[name]) for name in folders})
    for name in components:
        if name not in found:
            raise ModelUnavailable(
                f"{root.path} has no {' or '.join(folders[name])} folder, nor does its "
                f"{ABOUT_FILE} name with {LENDER_FIELD} an embedded model that has one"
            )
        layout.check_files(found[name], name, source.variant)
    about = read_about(root.path, family.defaults)
    licence = family.licence(root.name, about.licence)
    fingerprint = _fingerprint(family, source, root, found)
    previews = (place / _PREVIEW_FILE for place in places)
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
        previewer=next((path for path in previews if path.is_file()), None),
    )


def _lenders(root: ModelRoot) -> tuple[Path, ...]:
    """Return the folder of the embedded model that a model shares parts with, if it names one."""
    lender = read_optional(root.path / ABOUT_FILE).get(LENDER_FIELD)
    if lender is None:
        return ()
    if not isinstance(lender, str) or lender not in EMBEDDED:
        raise ModelUnavailable(
            f"{root.path / ABOUT_FILE}: {LENDER_FIELD} must be one of {', '.join(EMBEDDED)}, "
            f"got {lender!r}"
        )
    return (EMBEDDED[lender],)


def _fingerprint(
    family: Family, source: ModelSource, root: ModelRoot, found: dict[str, Path]
) -> str:
    if not root.commit:
        return layout.fingerprint_files(family.components, found, source.variant)
    # A stage's process downloads only its own part, so files cannot identify the whole model.
    chosen = (root.name, root.commit, source.variant)
    return hashlib.sha256("\n".join(chosen).encode()).hexdigest()
