"""What a composition starts from: noise, or a stored latent with a part of noise."""

from __future__ import annotations

from typing import Protocol

import torch

from cascade_core.errors import HandoffInvalid, Unsupported
from cascade_core.geometry import Geometry
from cascade_core.handoff import ModelRef, Tensor
from cascade_core.request import GenerationRequest
from cascade_core.sampling.step_tables import StepTable
from cascade_core.stages.tensors import check_origin, from_handoff


class StartLatent(Protocol):
    """A latent that a composition can start from."""

    @property
    def latents_chw(self) -> Tensor: ...  # noqa: D102

    @property
    def geometry(self) -> Geometry: ...  # noqa: D102

    @property
    def model(self) -> ModelRef: ...  # noqa: D102

    @property
    def request(self) -> GenerationRequest: ...  # noqa: D102


def check_start(
    request: GenerationRequest,
    latent: StartLatent | None,
    shape_chw: tuple[int, ...],
    geometry: Geometry,
    model: ModelRef,
) -> None:
    """Check that a request and what it starts from belong together.

    Args:
        request: of one image.
        latent: None if it starts from noise alone.
        shape_chw: of the request's latents.
        geometry: of the loaded model.
        model: the loaded weights.

    Raises:
        Unsupported: a request of several images; no latent for one that departs from a latent, or
            the other way round.
        ModelMismatch: other weights made the latent.
        HandoffInvalid: its size is not the request's, or its channels are not the model's.
    """
    if request.n != 1:
        raise Unsupported("a composing stage makes one image at a time")
    departs = request.strength is not None or request.operation.starts_from_latent
    if departs == (latent is None):
        message = "a composing stage takes a latent for requests that depart from one"
        raise Unsupported(message, "kind")
    if latent is None:
        return
    check_origin(latent.model, model)
    if latent.latents_chw.shape != shape_chw or latent.geometry != geometry:
        size = f"{latent.request.width}x{latent.request.height}"
        raise HandoffInvalid(f"the latent is for {size} px")


def first_latents(
    request: GenerationRequest,
    latent: StartLatent | None,
    noise_bchw: torch.Tensor,
    table: StepTable,
) -> torch.Tensor:
    """Return the latents before the first step, (1, c, h, w).

    Args:
        request: has passed :func:`check_start` with the latent.
        latent: None if it starts from noise alone.
        noise_bchw: the row's first draw.
        table: of the row's steps.
    """
    # At time 1 the schedule leaves 1% of the latent; noise alone is what a new picture gets.
    if latent is None or request.start_time == 1:
        return noise_bchw
    clean_chw = from_handoff(latent.latents_chw, noise_bchw.device, noise_bchw.dtype)
    return table.noised(clean_chw[None], noise_bchw)
