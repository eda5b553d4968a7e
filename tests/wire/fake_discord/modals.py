"""Modals as the client shows and submits them."""

from __future__ import annotations

from typing import Any

from tests.wire.fake_discord.errors import ClientRefusesError
from tests.wire.fake_discord.messages import Json

_TEXT_INPUT, _RADIO, _CHECKBOX = 4, 21, 23
_KEPT = ("type", "id", "custom_id")


def fields(modal: Json) -> dict[str, Json]:
    """Return the inputs by the label that people read."""
    found: dict[str, Json] = {}
    for component in modal["components"]:
        if "component" in component:
            found[component["label"]] = component["component"]
        for child in component.get("components") or []:
            found[child["label"]] = child
    return found


def prefilled(modal: Json) -> dict[str, Any]:
    """Return what the inputs say already, by label."""
    return {label: _default(field) for label, field in fields(modal).items()}


def fill(modal: Json, values: dict[str, Any]) -> list[Json]:
    """Return what is sent back: ``values`` by custom id or label, else what was prefilled.

    A label may be given with underscores for spaces.

    Raises:
        ClientRefusesError: there is no such input, or a text is too long or too short.
    """
    by_label = fields(modal)
    names = {label.replace(" ", "_"): field["custom_id"] for label, field in by_label.items()}
    given = {names.get(name, name): value for name, value in values.items()}
    if unknown := given.keys() - {field["custom_id"] for field in by_label.values()}:
        raise ClientRefusesError(f"no inputs {sorted(unknown)} (there are: {list(by_label)})")
    for label, field in by_label.items():
        if field["type"] == _TEXT_INPUT:
            _check_text(label, field, given.get(field["custom_id"], _default(field)))
    return [_answer(component, given) for component in modal["components"]]


def _check_text(label: str, field: Json, value: str) -> None:
    shortest, longest = field.get("min_length") or 0, field.get("max_length") or 4000
    if not value and not field.get("required", True):
        return
    if not max(shortest, 1) <= len(value) <= longest:
        raise ClientRefusesError(f"{label} takes {max(shortest, 1)} to {longest} characters")


def _default(field: Json) -> Any:
    chosen = [o["value"] for o in field.get("options") or [] if o.get("default")]
    if field["type"] == _TEXT_INPUT:
        return field.get("value") or ""
    if field["type"] == _CHECKBOX:
        return field.get("default", False)
    return (chosen or [None])[0] if field["type"] == _RADIO else chosen


def _answer(component: Json, given: dict[str, Any]) -> Json:
    kept = {name: component[name] for name in _KEPT if name in component}
    if "component" in component:
        return kept | {"component": _answer(component["component"], given)}
    if "components" in component:
        return kept | {"components": [_answer(child, given) for child in component["components"]]}
    if "custom_id" not in component:
        return kept
    name = "value" if component["type"] in (_TEXT_INPUT, _RADIO, _CHECKBOX) else "values"
    return kept | {name: given.get(component["custom_id"], _default(component))}
