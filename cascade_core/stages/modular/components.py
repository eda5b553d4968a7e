"""Loads the parts of a model in diffusers' layout, and puts them into pipelines."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers

from cascade_core.checkpoints.checkpoint import Checkpoint
from cascade_core.checkpoints.diffusers_index import read_index
from cascade_core.checkpoints.layout import as_unavailable
from cascade_core.errors import ModelUnavailable

_LIBRARIES = {"diffusers": diffusers, "transformers": transformers}


def build_pipeline(
    blocks: Any,
    checkpoint: Checkpoint,
    placement: tuple[torch.device, torch.dtype],
    *,
    prefix: str = "",
    shapes: tuple[str, ...] = (),
) -> Any:
    """Make a pipeline of blocks, with the components that they need.

    Args:
        blocks: of diffusers.
        checkpoint: where from; a component that it does not list stays out.
        placement: device and dtype.
        prefix: of the components' names in the checkpoint.
        shapes: components of which the blocks read the configuration alone; they get no weights.

    Raises:
        ModelUnavailable: files are missing or wrong.
    """
    silence_libraries()
    pipeline = blocks.init_pipeline()
    pipeline.set_progress_bar_config(disable=True)
    found = {
        name: checkpoint.components[prefix + name]
        for name in pipeline.pretrained_component_names
        if prefix + name in checkpoint.components
    }
    parts = {
        name: load_shape(path) if name in shapes else load_component(path, *placement, checkpoint)
        for name, path in found.items()
    }
    pipeline.update_components(**parts)
    for path in list(found.values())[:1]:
        pipeline.update_components(**_configs(blocks, read_index(path.parent)))
    return pipeline


def load_component(
    folder: Path, device: torch.device, dtype: torch.dtype, checkpoint: Checkpoint
) -> Any:
    """Load a component by the class that the model's index names; weights from safetensors alone.

    Raises:
        ModelUnavailable: files are missing or wrong, or the class is none that is supported.
    """
    kind = _class_of(folder)
    with as_unavailable(folder):
        if not issubclass(kind, torch.nn.Module):
            return kind.from_pretrained(str(folder), local_files_only=True)
        module = kind.from_pretrained(
            str(folder),
            dtype=dtype,
            variant=checkpoint.variant or None,
            use_safetensors=True,
            local_files_only=True,
        )
        if isinstance(module, diffusers.ModelMixin):
            _set_dtype(module, dtype)
        return module.to(device).eval().requires_grad_(False)


def load_shape(folder: Path) -> Any:
    """Build a network of diffusers without weights: what its configuration says of it.

    Raises:
        ModelUnavailable: files are missing or wrong.
    """
    kind = _class_of(folder)
    with as_unavailable(folder), torch.device("meta"):
        return kind.from_config(kind.load_config(str(folder), local_files_only=True))


def _set_dtype(module: torch.nn.Module, dtype: torch.dtype) -> None:
    """Set the number type of a network's weights; what its code computes at start keeps its own.

    Without the package accelerate, diffusers leaves weights in the number type of their files.
    """
    for tensor in module.state_dict(keep_vars=True).values():
        if tensor.is_floating_point():
            tensor.data = tensor.data.to(dtype)


def _class_of(folder: Path) -> Any:
    index = read_index(folder.parent)
    if folder.name not in index.classes:
        raise ModelUnavailable(f"the index of {folder.parent} does not list {folder.name}")
    library, name = index.classes[folder.name]
    kind = getattr(_LIBRARIES[library], name, None)
    if not isinstance(kind, type) or not hasattr(kind, "from_pretrained"):
        raise ModelUnavailable(f"{folder}: the installed {library} has no {name} to load")
    return kind


def _configs(blocks: Any, index: Any) -> Mapping[str, Any]:
    """Return the values of the pipeline itself that the model's index states."""
    names = {spec.name for spec in blocks.expected_configs}
    return {name: value for name, value in index.values.items() if name in names}


def silence_libraries() -> None:
    """Leave out the remarks of diffusers and transformers in this process; errors stay.

    They remark on every row that its guider is experimental, and draw a bar for each file.
    """
    for library in (diffusers, transformers):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()
