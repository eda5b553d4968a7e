"""All model families by name; a new one is a module beside this one and a line here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from cascade_core.families.flow import FLOW
from cascade_core.families.licence import Licence
from cascade_core.families.modular import MODULAR_FAMILIES
from cascade_core.families.spec import Family
from cascade_core.families.stable_cascade import STABLE_CASCADE
from cascade_core.families.wuerstchen import WUERSTCHEN

FAMILIES: Final[Mapping[str, Family]] = {
    family.name: family
    for family in (
        STABLE_CASCADE,
        WUERSTCHEN,
        FLOW,
        *MODULAR_FAMILIES,
    )
}

UNNAMED: Final = STABLE_CASCADE
"""Of a folder without a ``model_index.json``: its parts alone made a model before there were
several families."""

OWN_GPUS: Final[Mapping[str, float]] = {
    stage.name: stage.own_gpus for family in FAMILIES.values() for stage in family.all_stages
}
"""By the name of each stage of all families, the GPUs of a replica that shares none."""

STAGE_NAMES: Final = tuple(OWN_GPUS)


def family_of_class(name: str) -> Family | None:
    """Return the family of a pipeline class of diffusers; None if no family runs it."""
    return next((family for family in FAMILIES.values() if name in family.classes), None)


def published_licence(hub_id: str) -> Licence | None:
    """Return the licence of published weights by their hub id alone; None if it is not known."""
    known = {name: it for family in FAMILIES.values() for name, it in family.licences.items()}
    prefixes = [prefix for prefix in known if hub_id.startswith(prefix)]
    # One publisher has several models: the longest beginning is the one of this model.
    return known[max(prefixes, key=len)] if prefixes else None
