"""What Docker Compose makes of the compose files."""

from __future__ import annotations

from typing import Any

import yaml

from tests.k8s.manifests import ROOT

FOLDER = ROOT / "k8s" / "compose"
FILES = ("compose.yaml", "compose.gpu.yaml")


def read(file: str) -> dict[str, Any]:
    """Return one file."""
    content: dict[str, Any] = yaml.safe_load((FOLDER / file).read_text())
    return content


def merged(base: Any, override: Any) -> Any:
    """Put an override on top: maps are merged, lists of volumes joined, all else is replaced."""
    if isinstance(base, dict) and isinstance(override, dict):
        return base | {
            key: merged(base[key], value) if key in base else value
            for key, value in override.items()
        }
    if isinstance(base, list) and isinstance(override, list):
        return base + override
    return override


COMPOSE = read("compose.yaml")
WITH_GPU = merged(COMPOSE, read("compose.gpu.yaml"))
