"""How large the weights of a model's stages are, by the headers of their files alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Final

from cascade_core.checkpoints import layout
from cascade_core.checkpoints.checkpoint import Checkpoint
from cascade_core.errors import ModelUnavailable
from cascade_core.families.spec import Family, StageSpec

MAX_HEADER_BYTES: Final = 100_000_000
"""The limit of the safetensors format."""
_LENGTH_BYTES: Final = 8
_METADATA: Final = "__metadata__"


@dataclass(frozen=True, slots=True)
class WeightSize:
    """The size of weights in files.

    Attributes:
        parameters: how many numbers they are.
        size_bytes: how many bytes these take in the files.
    """

    parameters: int
    size_bytes: int


def stage_sizes(family: Family, checkpoint: Checkpoint) -> dict[str, WeightSize]:
    """Return the size of the weights that each stage reads when it starts.

    A part that two stages read counts for both.

    Returns:
        By the stage's name; without those stages of which a file is not here or is damaged.
    """
    files = {stage.name: _files(stage, checkpoint) for stage in family.stages}
    sizes: dict[str, WeightSize] = {}
    for name, paths in files.items():
        try:
            found = [read_size(path) for path in paths]
        except ModelUnavailable:  # the stage itself says so when it loads the file
            continue
        if found:
            parameters = sum(size.parameters for size in found)
            sizes[name] = WeightSize(parameters, sum(size.size_bytes for size in found))
    return sizes


def read_size(path: Path) -> WeightSize:
    """Read the header of a safetensors file; the weights themselves are not read.

    The format: 8 bytes with the header's length, little-endian, then the header, a JSON object with
    ``shape`` and ``data_offsets`` of each tensor (README of huggingface/safetensors).

    Raises:
        ModelUnavailable: the file is missing or damaged; names it.
    """
    with layout.as_unavailable(path):
        tensors = _read_header(path).values()
        offsets = [tensor["data_offsets"] for tensor in tensors]
        return WeightSize(
            parameters=sum(prod(map(int, tensor["shape"])) for tensor in tensors),
            size_bytes=sum(int(end) - int(start) for start, end in offsets),
        )


def _files(stage: StageSpec, checkpoint: Checkpoint) -> list[Path]:
    """Return the weight files of a stage; empty if one is not here.

    A model may lack some parts of its family, such as one of several text encoders.
    """
    parts = [name for name in stage.components if name in checkpoint.components]
    try:
        found = [checkpoint.weight_files(name) for name in parts if layout.has_weights(name)]
    except ModelUnavailable:  # it is downloaded by the stage's own process
        return []
    return [path for paths in found for path in paths]


def _read_header(path: Path) -> Mapping[str, Any]:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
        if length > MAX_HEADER_BYTES:
            raise ValueError("its header is too long for a safetensors file")
        header = json.loads(file.read(length))
    return {name: tensor for name, tensor in header.items() if name != _METADATA}
