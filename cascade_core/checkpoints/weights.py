"""From files to networks: dtype, device, and one loader per component."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from math import inf
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import torch
from safetensors import safe_open

from cascade_core.checkpoints.checkpoint import Checkpoint
from cascade_core.checkpoints.layout import as_unavailable, read_json, weight_files
from cascade_core.errors import ModelUnavailable, SettingsInvalid
from cascade_core.handoff import ModelRef
from cascade_core.models.clip import ClipStatesModel, ClipTextConfig, ClipTextModel
from cascade_core.models.effnet import EffnetEncoder
from cascade_core.models.latent_encoder import LatentEncoderConfig, LatentEncoderNetwork
from cascade_core.models.network import Network
from cascade_core.models.paella import PaellaConfig, PaellaDecoder
from cascade_core.models.unet import CascadeUnet
from cascade_core.models.unet_config import UnetConfig
from cascade_core.sampling.step_tables import CosineSchedule

ModelT = TypeVar("ModelT", bound=Network)
ConfigT = TypeVar("ConfigT")
DtypeName = Literal["auto", "float32", "bfloat16", "float16"]

WEIGHTS_PER_OPENING: Final = 32
"""What was read stays mapped while its file is open; all of it would double the memory. This many
of the published U-Nets' weights are a small part of a file, and each opening reads its list anew.
"""
_SCHEDULER_CLASS = "DDPMWuerstchenScheduler"
_UNET_CLASS = "StableCascadeUNet"
_LATENT_ENCODER_CLASS = "LatentEncoder"
_VQGAN_CLASS = "PaellaVQModel"


@dataclass(frozen=True, slots=True)
class Placement:
    """Where and in which precision a stage computes, as configured.

    Attributes:
        device: ``auto`` (CUDA if there is a GPU), ``cpu``, ``cuda`` or ``cuda:N``.
        dtype: ``auto`` is bfloat16 on CUDA and float32 on a CPU.
    """

    device: str = "auto"
    dtype: DtypeName = "auto"

    def resolve(self) -> tuple[torch.device, torch.dtype]:
        """Return the device and dtype to use.

        Raises:
            SettingsInvalid: unknown names, or CUDA without a GPU.
        """
        name = self.device
        if name == "auto":
            name = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            device = torch.device(name)
        except RuntimeError as error:
            raise SettingsInvalid(f"device must be auto, cpu or cuda, got {name!r}") from error
        if device.type == "cuda" and not torch.cuda.is_available():
            raise SettingsInvalid(f"device is {name}, but torch sees no GPU here")
        if self.dtype == "auto":
            return device, torch.bfloat16 if device.type == "cuda" else torch.float32
        return device, _dtype(self.dtype)


def free_cached_memory(device: torch.device) -> None:
    """Free the GPU memory that torch keeps for later tensors."""
    if device.type == "cuda":
        torch.cuda.empty_cache()


def model_ref(checkpoint: Checkpoint) -> ModelRef:
    """Return the origin that latents made by this checkpoint carry."""
    return ModelRef(checkpoint.id, checkpoint.revision, checkpoint.fingerprint)


def load_unet(
    checkpoint: Checkpoint, component: str, device: torch.device, dtype: torch.dtype
) -> CascadeUnet:
    """Load the U-Net of a stage; its config.json is that of a StableCascadeUNet.

    Args:
        checkpoint: where from.
        component: ``prior`` (Stage C) or ``decoder`` (Stage B).
        device: where to.
        dtype: of all weights.

    Raises:
        SettingsInvalid: Stage C in float16.
        ModelUnavailable: missing, unreadable or other weights.
    """
    if component == "prior" and dtype == torch.float16:
        # Activations of its last block group exceed float16's range: diffusers#6970.
        raise SettingsInvalid(
            "Stage C cannot run in float16, it answers NaN: set dtype to bfloat16 or float32"
        )
    return load_network(checkpoint, component, _UNET_CLASS, _build_unet, device, dtype)


def load_network(
    checkpoint: Checkpoint,
    component: str,
    class_name: str,
    build: Callable[[Mapping[str, Any]], ModelT],
    device: torch.device,
    dtype: torch.dtype,
) -> ModelT:
    """Load a component whose ``config.json`` names a class.

    Args:
        checkpoint: where from.
        component: which one.
        class_name: what its ``_class_name`` must be.
        build: makes the network of the values in its ``config.json``.
        device: where to.
        dtype: of all weights.

    Raises:
        ModelUnavailable: missing, unreadable or other weights.
    """
    folder = checkpoint.component(component)
    if read_json(folder / "config.json").get("_class_name") != class_name:
        raise ModelUnavailable(f"{folder} holds no {class_name}: see its config.json")
    return _fill(checkpoint, component, build, device, dtype)


def load_vqgan_decoder(
    checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype
) -> PaellaDecoder:
    """Load the decoder half of Stage A's PaellaVQModel; its encoder and codebook are not needed.

    Raises:
        ModelUnavailable: missing, unreadable or other weights.
    """
    return load_network(checkpoint, "vqgan", _VQGAN_CLASS, _build_decoder, device, dtype)


def load_text_encoder(
    checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype
) -> ClipTextModel:
    """Load the text model; its config.json is that of a CLIPTextModelWithProjection.

    Raises:
        ModelUnavailable: missing, unreadable or other weights.
    """
    return _fill(checkpoint, "text_encoder", _build_text_model, device, dtype)


def load_text_states(
    checkpoint: Checkpoint, component: str, device: torch.device, dtype: torch.dtype
) -> ClipStatesModel:
    """Load a text model without a projection; its config.json is that of a CLIPTextModel.

    Raises:
        ModelUnavailable: missing, unreadable or other weights.
    """
    return _fill(checkpoint, component, _build_states_model, device, dtype)


def load_picture_encoder(
    checkpoint: Checkpoint, device: torch.device
) -> EffnetEncoder | LatentEncoderNetwork:
    """Load the network that encodes pictures, in float32: it is small, and runs once a picture.

    Raises:
        ModelUnavailable: the model has none, or its files are wrong.
    """
    path = checkpoint.picture_encoder
    if path is None:
        raise ModelUnavailable(f"{checkpoint.id} has no encoder for pictures")
    with as_unavailable(path):
        if path.is_file():
            return _filled(EffnetEncoder, (path,), path, device, torch.float32)
        config = read_json(path / "config.json")
        if config.get("_class_name") != _LATENT_ENCODER_CLASS:
            raise ModelUnavailable(f"{path} holds no {_LATENT_ENCODER_CLASS}: see its config.json")
        build = partial(LatentEncoderNetwork, LatentEncoderConfig.read(config))
        return _filled(build, weight_files(path, ""), path, device, torch.float32)


def load_text_config(checkpoint: Checkpoint, component: str = "text_encoder") -> ClipTextConfig:
    """Read what shapes a text model.

    Raises:
        ModelUnavailable: missing, unreadable or wrong.
    """
    return load_config(checkpoint, component, ClipTextConfig.read)


def load_unet_config(checkpoint: Checkpoint, component: str) -> UnetConfig:
    """Read what shapes the U-Net of a stage.

    Raises:
        ModelUnavailable: missing, unreadable or wrong.
    """
    return load_config(checkpoint, component, UnetConfig.read)


def load_config(
    checkpoint: Checkpoint, component: str, read: Callable[[Mapping[str, Any]], ConfigT]
) -> ConfigT:
    """Read the ``config.json`` of a component.

    Raises:
        ModelUnavailable: missing, unreadable or wrong.
    """
    folder = checkpoint.component(component)
    config = read_json(folder / "config.json")
    with as_unavailable(folder):
        return read(config)


def load_schedule(checkpoint: Checkpoint, component: str) -> CosineSchedule:
    """Read a noise schedule; a model without one has the published values.

    Args:
        checkpoint: where from.
        component: ``prior_scheduler`` or ``decoder_scheduler``.

    Raises:
        ModelUnavailable: the model was trained for another kind of scheduler, or values are wrong.
    """
    if component not in checkpoint.components:
        return CosineSchedule()
    path = checkpoint.component(component) / "scheduler_config.json"
    config = read_json(path)
    if config.get("_class_name", _SCHEDULER_CLASS) != _SCHEDULER_CLASS:
        raise ModelUnavailable(f"{path} must be a {_SCHEDULER_CLASS}: no other one is supported")
    with as_unavailable(path):
        schedule = CosineSchedule(float(config.get("s", 0.008)), float(config.get("scaler", 1.0)))
        if not (0 <= schedule.s < inf and 0 < schedule.scaler < inf):
            raise ValueError("s must be 0 or more, and scaler more than 0")
    return schedule


def _dtype(name: str) -> torch.dtype:
    known = {
        "float32": torch.float32,
        "bfloat16": torch.bfloat16,
        "float16": torch.float16,
    }
    if name not in known:
        raise SettingsInvalid(f"dtype must be one of auto, {', '.join(known)}, got {name!r}")
    return known[name]


def _build_unet(config: Mapping[str, Any]) -> CascadeUnet:
    return CascadeUnet(UnetConfig.read(config))


def _build_decoder(config: Mapping[str, Any]) -> PaellaDecoder:
    return PaellaDecoder(PaellaConfig.read(config))


def _build_text_model(config: Mapping[str, Any]) -> ClipTextModel:
    return ClipTextModel(ClipTextConfig.read(config))


def _build_states_model(config: Mapping[str, Any]) -> ClipStatesModel:
    return ClipStatesModel(ClipTextConfig.read(config))


def _fill(
    checkpoint: Checkpoint,
    component: str,
    build: Callable[[Mapping[str, Any]], ModelT],
    device: torch.device,
    dtype: torch.dtype,
) -> ModelT:
    """Build a network from its folder."""
    folder = checkpoint.component(component)
    config = read_json(folder / "config.json")
    with as_unavailable(folder):
        paths = checkpoint.weight_files(component)
        return _filled(partial(build, config), paths, folder, device, dtype)


def _filled(
    build: Callable[[], ModelT],
    paths: tuple[Path, ...],
    place: Path,
    device: torch.device,
    dtype: torch.dtype,
) -> ModelT:
    """Build a network without initialising it and fill it from safetensors files.

    Args:
        build: makes it.
        paths: the files.
        place: the folder or file that error messages name.
        device: where to.
        dtype: of all weights.
    """
    with torch.device("meta"):
        model = build().to(dtype).eval().requires_grad_(False)
    _check_keys(place, *model.compare(name for path in paths for name in _names(path)))
    # Memory of its own: mapped files are not aligned, and CPU kernels then round differently.
    model.to_empty(device=device)
    model.fill(_read_weights(paths, model.unused))
    return model


def _names(path: Path) -> list[str]:
    with safe_open(path, framework="pt") as file:
        names: list[str] = file.keys()
    return names


def _read_weights(
    paths: tuple[Path, ...], unused: tuple[str, ...]
) -> Iterator[tuple[str, torch.Tensor]]:
    for path in paths:
        names = [name for name in _names(path) if not name.startswith(unused)]
        for first in range(0, len(names), WEIGHTS_PER_OPENING):
            with safe_open(path, framework="pt") as file:
                for name in names[first : first + WEIGHTS_PER_OPENING]:
                    yield name, file.get_tensor(name)


def _check_keys(place: Path, missing: Iterable[str], unexpected: Iterable[str]) -> None:
    for what, names in (("lack", sorted(missing)), ("have unknown", sorted(unexpected))):
        if names:
            raise ModelUnavailable(
                f"weights in {place} {what} {names[0]} ({len(names)} such): they do not fit the "
                "network"
            )
