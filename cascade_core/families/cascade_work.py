"""The work and the steps of the stages of a cascade: compose, add details, decode.

Work is counted in passes of a U-Net over a megapixel. It only has to order jobs and to scale with
the seconds they take, which are measured; so the weight of the passes that add details is a round
number between the published Stable Cascade's (1.5 of those that compose, H100) and the demo model's
(4, CPU).
"""

from __future__ import annotations

from typing import Final

from cascade_core.request import GenerationRequest

DETAIL_WEIGHT: Final = 2.0
DECODING_PASSES: Final = 1.0
"""One decoding to pixels, in passes that add details."""


def composing_work(request: GenerationRequest) -> float:
    """Return the work of composing an image."""
    steps = max(1, request.composing_steps)  # a latent that stays as it is takes a replica, too
    return megapixels(request) * steps * _passes(request.guidance_scale)


def detailing_work(request: GenerationRequest) -> float:
    """Return the work of adding an image's details."""
    passes = request.decoder_steps * _passes(request.decoder_guidance_scale)
    return DETAIL_WEIGHT * megapixels(request) * passes


def decoding_work(request: GenerationRequest) -> float:
    """Return the work of decoding an image to pixels."""
    return DETAIL_WEIGHT * megapixels(request) * DECODING_PASSES


def composing_steps(request: GenerationRequest) -> int:
    """Return the steps of composing an image."""
    return request.composing_steps


def detailing_steps(request: GenerationRequest) -> int:
    """Return the steps of adding an image's details."""
    return request.decoder_steps


def one_step(_request: GenerationRequest) -> int:
    """Return 1."""
    return 1


def megapixels(request: GenerationRequest) -> float:
    """Return the size of an image."""
    return request.width * request.height / 1e6


def _passes(guidance_scale: float) -> int:
    """Guidance runs the net once more, without the prompt."""
    return 2 if guidance_scale > 1 else 1
