"""KubeRay's RayService schema, made strict; and the part of it that the overlays use.

python -m tests.k8s.rayservice_schema FILE    # KubeRay's CRD; writes schemas/rayservice.json
"""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from typing import Any

import yaml

from tests.k8s.manifests import COMPONENTS, OVERLAYS, built_with, ray_service

DERIVED = Path(__file__).parent / "schemas" / "rayservice.json"

Schema = dict[str, Any]


def stored_schema(crd: Path) -> Schema:
    """Return the OpenAPI schema of the version that KubeRay stores."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    versions = yaml.load(crd.read_text(), Loader=loader)["spec"]["versions"]
    (stored,) = [version for version in versions if version["storage"]]
    schema: Schema = stored["schema"]["openAPIV3Schema"]
    return schema


def strict(schema: Schema) -> Schema:
    """Return the schema as JSON Schema that refuses unknown fields, as the API server's does."""
    made = {key: value for key, value in schema.items() if key not in ("format", "default")}
    if made.pop("x-kubernetes-int-or-string", False):
        made.pop("anyOf", None)
        made["type"] = ["integer", "string"]
    if "properties" in made:
        made["properties"] = {key: strict(part) for key, part in made["properties"].items()}
        if not made.get("x-kubernetes-preserve-unknown-fields"):
            made.setdefault("additionalProperties", False)
    for key in ("items", "additionalProperties", "not"):
        if isinstance(made.get(key), dict):
            made[key] = strict(made[key])
    for key in ("allOf", "anyOf", "oneOf"):
        if key in made:
            made[key] = [strict(part) for part in made[key]]
    return {key: value for key, value in made.items() if key != "description"}


def whole(crd: Path) -> Schema:
    """Return the strict schema of a whole RayService."""
    schema = strict(stored_schema(crd))
    schema["properties"]["metadata"] = {"type": "object"}
    return schema


def derived(crd: Path) -> Schema:
    """Return the strict schema of the fields that the overlays use."""
    with_components = next(m for m in built_with(*COMPONENTS) if m["kind"] == "RayService")
    return _used(whole(crd), [*(ray_service(overlay) for overlay in OVERLAYS), with_components])


def _used(schema: Schema, values: list[Any]) -> Schema:
    """Keep the properties that occur in any of the values; required ones stay required."""
    made = copy.copy(schema)
    objects = [value for value in values if isinstance(value, dict)]
    if "properties" in schema:
        names = [name for name in schema["properties"] if any(name in value for value in objects)]
        made["properties"] = {
            name: _used(schema["properties"][name], [o[name] for o in objects if name in o])
            for name in names
        }
    if isinstance(schema.get("items"), dict):
        entries = [entry for value in values if isinstance(value, list) for entry in value]
        made["items"] = _used(schema["items"], entries)
    return made


if __name__ == "__main__":
    DERIVED.write_text(json.dumps(derived(Path(sys.argv[1])), indent=1, sort_keys=True) + "\n")
