"""Draws the latents of a modular pipeline small, by a map that is fitted to its decoder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import torch
from torch.nn import functional

from cascade_core.checkpoints.checkpoint import Checkpoint
from cascade_core.images.pixels import Rgb
from cascade_core.stages.modular.blocks import Division
from cascade_core.stages.modular.components import build_pipeline
from cascade_core.stages.modular.loop import LoopRow
from cascade_core.stages.previews import LinearPreviewer, fit_linear
from cascade_core.stages.tensors import to_preview

Unpack = Callable[[LoopRow, torch.Tensor], torch.Tensor]

_FITTED_CELLS, _SMOOTH_OVER = 8, 4


class LoopPreviewer:
    """Draws what the rows of a loop predict.

    Args:
        unpack: gives the latents of a row height and width, as the decoder takes them.
        linear: from a cell of the latents to its colour.
    """

    def __init__(self, unpack: Unpack, linear: LinearPreviewer) -> None:
        self._unpack = unpack
        self._linear = linear

    @classmethod
    @torch.no_grad()
    def fit(
        cls,
        division: Division,
        row: LoopRow,
        checkpoint: Checkpoint,
        place: tuple[torch.device, torch.dtype],
        prefix: str,
    ) -> Self:
        """Fit the map to the decoder's pictures of smooth noise; then the decoder is freed.

        Args:
            division: of the pipeline.
            row: of the loop; its latents say which shape latents have.
            checkpoint: where the decoder is from.
            place: device and dtype.
            prefix: of the components' names in the checkpoint.

        Raises:
            ModelUnavailable: the decoder's files are missing or wrong.
        """
        unpack = _unpacker(division, getattr(row.components, "vae", None))
        decoding = build_pipeline(division.decoding, checkpoint, place, prefix=prefix)
        shaped = unpack(row, row.loop_state.latents)
        # The latents of a model have about unit variance; cells resemble their neighbours.
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(1, shaped.shape[1], _FITTED_CELLS, _FITTED_CELLS, generator=generator)
        smooth = functional.interpolate(noise, scale_factor=_SMOOTH_OVER, mode="bicubic")
        given = smooth.unsqueeze(2) if shaped.ndim == 5 else smooth
        decoded = decoding(latents=given.to(*place), output_type="pt", output="images")
        decoding.unload_components("vae")
        weight, bias = fit_linear(smooth, decoded.float().cpu().nan_to_num())
        return cls(unpack, LinearPreviewer(weight.to(place[0]), bias.to(place[0])))

    @torch.no_grad()
    def draw(self, row: LoopRow) -> Rgb:
        """Draw what a row predicts that its latents become."""
        shaped = self._unpack(row, predicted(row))
        rgb_chw = self._linear(shaped.reshape(1, shaped.shape[1], *shaped.shape[-2:]))
        return to_preview(rgb_chw, row.request.height, row.request.width)


def predicted(row: LoopRow) -> torch.Tensor:
    """Return the latents without the noise that is left in them after the last step.

    Euler's schedulers move latents along their prediction by the difference of two sigmas: what
    the last sigma leaves is taken off at once. Other schedulers' latents are returned as they are.
    """
    state, scheduler = row.loop_state, row.components.scheduler
    latents: torch.Tensor = state.latents
    noise, number = getattr(state, "noise_pred", None), scheduler.step_index
    is_euler = type(scheduler).__name__ in (
        "FlowMatchEulerDiscreteScheduler",
        "EulerDiscreteScheduler",
    )
    predicts_noise = scheduler.config.get("prediction_type", "epsilon") == "epsilon"
    if not is_euler or not predicts_noise or noise is None or number is None:
        return latents
    clean: torch.Tensor = latents - scheduler.sigmas[number].to(latents) * noise.to(latents)
    return clean


def _unpacker(division: Division, decoder: Any) -> Unpack:
    """Return what runs the blocks that shape latents; most models have none.

    Args:
        division: of the pipeline.
        decoder: the shape of the model's; the blocks read how much smaller its latents are.
    """
    if not division.unpacking.sub_blocks:
        return lambda _row, latents: latents
    pipeline = division.unpacking.init_pipeline()
    pipeline.vae = decoder
    names = set(division.unpacking.input_names)

    def unpack(row: LoopRow, latents: torch.Tensor) -> torch.Tensor:
        size = {"height": row.request.height, "width": row.request.width}
        values = {**row.state.values, **size, "latents": latents}
        inputs = {name: values[name] for name in values.keys() & names}
        shaped: torch.Tensor = pipeline(**inputs, output="latents")
        return shaped

    return unpack
