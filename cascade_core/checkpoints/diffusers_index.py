"""Reads the index of a model in diffusers' layout, and finds the components that it lists."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cascade_core.checkpoints.checkpoint import INDEX_FILES
from cascade_core.checkpoints.layout import read_json, sample_file, weight_files
from cascade_core.errors import ModelUnavailable
from cascade_core.families.component_folders import Variant

LIBRARIES: Final = ("diffusers", "transformers")
"""The libraries whose classes an index may name: an index decides what code is loaded."""
OPTIONAL: Final = ("text_encoder_3", "tokenizer_3")
"""Stable Diffusion 3 also runs without its third text encoder, the largest of its parts."""
_CONFIGS: Final = {"scheduler": "scheduler_config.json", "tokenizer": "tokenizer_config.json"}
_WEIGHT_STEMS: Final = ("diffusion_pytorch_model", "model")


@dataclass(frozen=True, slots=True)
class ModelIndex:
    """What an index says.

    Attributes:
        path: of the file.
        classes: library and class of each component that is there.
        values: what else it states, such as ``is_distilled``.
    """

    path: Path
    classes: Mapping[str, tuple[str, str]]
    values: Mapping[str, Any]


def read_index(root: Path) -> ModelIndex:
    """Read the index of a model's folder.

    Raises:
        ModelUnavailable: there is none, or it names a class of another library.
    """
    path = next((root / name for name in INDEX_FILES if (root / name).is_file()), None)
    if path is None:
        raise ModelUnavailable(f"{root} has no model_index.json: it must be in diffusers' layout")
    classes: dict[str, tuple[str, str]] = {}
    values: dict[str, Any] = {}
    for name, value in read_json(path).items():
        if not isinstance(value, list) or len(value) not in (2, 3):
            values[name] = value
        elif (named := _class_in(value)) is not None:
            classes[name] = _checked(path, name, named)
    return ModelIndex(path, classes, values)


def check_parts(index: ModelIndex, wanted: Collection[str], variant: Variant) -> None:
    """Check that a model has the components that a process loads.

    Args:
        index: of the model.
        wanted: their names.
        variant: which weights.

    Raises:
        ModelUnavailable: one is missing; names it and the remedy.
    """
    for name in wanted:
        if name in index.classes:
            _check_files(index.path.parent / name, name, variant)
        elif name not in OPTIONAL:
            raise ModelUnavailable(f"{index.path} lists no {name}: the model is incomplete")


def hub_patterns(components: Collection[str], variant: Variant) -> list[str]:
    """Return which files of a hub's repository are needed: all configuration, some weights."""
    suffix = f".{variant}" if variant else ""
    patterns = ["*.json", "*.txt", "*.jinja", "*.model"]
    for component in components:
        for stem in _WEIGHT_STEMS:
            patterns.append(f"{component}/{stem}{suffix}.safetensors")
            patterns.append(f"{component}/{stem}-?????-of-?????{suffix}.safetensors")
            patterns.append(f"{component}/{stem}{suffix}-?????-of-?????.safetensors")
    return patterns


def fingerprint_parts(parts: Mapping[str, Path], variant: Variant) -> str:
    """Return a hash over the configuration and sampled blocks of the weights of all components."""
    digest = hashlib.sha256()
    for component, folder in sorted(parts.items()):
        configs = sorted(path for path in folder.iterdir() if path.suffix in (".json", ".txt"))
        for path in (*configs, *_weights_there(folder, variant)):
            digest.update(f"{component}/{path.name}:{path.stat().st_size};".encode())
            for block in sample_file(path):
                digest.update(block)
    return digest.hexdigest()


def _class_in(entry: list[Any]) -> list[Any] | None:
    """Return the library and the class of an entry; None if the component is not there."""
    if entry[0] is not None:
        return entry[:2]
    spec = entry[2] if len(entry) == 3 and isinstance(entry[2], dict) else {}
    hint = spec.get("type_hint")  # of a component that was not loaded when the index was saved
    return hint if isinstance(hint, list) and len(hint) == 2 and hint[0] is not None else None


def _checked(path: Path, name: str, named: list[Any]) -> tuple[str, str]:
    library, kind = named
    if library not in LIBRARIES or not isinstance(kind, str):
        raise ModelUnavailable(
            f"{path}: {name} is {kind} of {library}, and only classes of "
            f"{' and '.join(LIBRARIES)} are loaded"
        )
    return library, kind


def _check_files(folder: Path, component: str, variant: Variant) -> None:
    kind = component.rstrip("_0123456789")
    config = folder / _CONFIGS.get(kind, "config.json")
    if not config.is_file():
        raise ModelUnavailable(f"{config} does not exist: complete the model folder")
    if kind not in _CONFIGS:
        weight_files(folder, variant)


def _weights_there(folder: Path, variant: Variant) -> tuple[Path, ...]:
    try:
        return weight_files(folder, variant)
    except ModelUnavailable:  # it has none, or the process does not load this component
        return ()
