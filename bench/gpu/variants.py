"""The same random weights behind diffusers' pipelines and behind our stages, plain and compiled."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import torch
from diffusers import (
    DDPMWuerstchenScheduler,
    StableCascadeDecoderPipeline,
    StableCascadePriorPipeline,
)

from bench.gpu.timing import Clock
from bench.published import WEIGHTS, Scale, letter_tokenizer, random_component
from cascade_core.checkpoints.checkpoint import Checkpoint
from cascade_core.conditioning.text import TextEncoder
from cascade_core.families.stable_cascade import STABLE_CASCADE
from cascade_core.geometry import Geometry
from cascade_core.model_defaults import ModelDefaults
from cascade_core.pipeline import CascadePipeline
from cascade_core.request import GenerationRequest
from cascade_core.sampling.sampler import CosineSchedule
from cascade_core.stages.stage_a import StageA
from cascade_core.stages.stage_b import StageB
from cascade_core.stages.stage_c import StageC

UNETS: Final = ("prior", "decoder")


@dataclass(frozen=True)
class RandomModel:
    """One model's modules on their device."""

    tokenizer: Any
    prior: Any
    text_encoder: Any
    decoder: Any
    vqgan: Any

    @classmethod
    def make(cls, scale: Scale, device: torch.device, dtype: torch.dtype) -> RandomModel:
        """Make all of them there."""
        parts = {name: random_component(scale, name, device, dtype) for name in WEIGHTS}
        return cls(letter_tokenizer(scale), **parts)


@dataclass(frozen=True)
class Timed:
    """One picture's times.

    Attributes:
        total_s: from the prompt, or from what was kept, to the pixels.
        stages_s: by stage; Stage C's hold the text encoder's.
        steps_s: by stage, from the end of each step to the end of the next.
        kept: what :meth:`Variant.vary` starts from.
    """

    total_s: float
    stages_s: dict[str, float]
    steps_s: dict[str, list[float]]
    kept: Any


class Variant(Protocol):
    """One way to make pictures."""

    def draw(self, request: GenerationRequest) -> Timed:
        """Make a picture from its prompt."""

    def vary(self, request: GenerationRequest, kept: Any) -> Timed:
        """Make a picture from what an earlier one kept."""


class Stock:
    """Diffusers' two pipelines, one after the other, as its combined pipeline calls them.

    Args:
        model: its parts that are not compiled.
        clock: of its device.
        prior, decoder: its U-Nets, compiled or not.
    """

    def __init__(self, model: RandomModel, clock: Clock, prior: Any, decoder: Any) -> None:
        self._clock = clock
        text = {"tokenizer": model.tokenizer, "text_encoder": model.text_encoder}
        self._prior = StableCascadePriorPipeline(
            prior=prior, scheduler=DDPMWuerstchenScheduler(), **text
        )
        self._decoder = StableCascadeDecoderPipeline(
            decoder=decoder,
            vqgan=model.vqgan,
            scheduler=DDPMWuerstchenScheduler(),
            **text,
        )
        for pipeline in (self._prior, self._decoder):
            pipeline.set_progress_bar_config(disable=True)

    def draw(self, request: GenerationRequest) -> Timed:
        """Make a picture from its prompt."""
        marks: list[Any] = []
        begun_s = time.perf_counter()
        prior = self._prior(
            prompt=request.prompt,
            width=request.width,
            height=request.height,
            num_inference_steps=request.steps,
            guidance_scale=request.guidance_scale,
            generator=self._clock.generator(request.seed),
            callback_on_step_end=self._marker(marks),
        )
        steps_s = self._clock.seconds_between(marks)
        c_s = time.perf_counter() - begun_s
        decoded = self.vary(request, prior)
        return Timed(
            c_s + decoded.total_s,
            {"c": c_s} | decoded.stages_s,
            {"c": steps_s} | decoded.steps_s,
            prior,
        )

    def vary(self, request: GenerationRequest, kept: Any) -> Timed:
        """Make a picture from the prior's output."""
        begun_s, marks = time.perf_counter(), [self._clock.mark()]
        self._decoder(
            image_embeddings=kept.image_embeddings,
            prompt_embeds=kept.prompt_embeds,
            prompt_embeds_pooled=kept.prompt_embeds_pooled,
            num_inference_steps=request.decoder_steps,
            guidance_scale=request.decoder_guidance_scale,
            generator=self._clock.generator(request.decoder_seed),
            callback_on_step_end=self._marker(marks),
        )
        total_s = time.perf_counter() - begun_s
        first_s, *steps_s = self._clock.seconds_between(marks)
        b_s = first_s + sum(steps_s)
        return Timed(total_s, {"b": b_s, "a": total_s - b_s}, {"b": steps_s}, kept)

    def _marker(self, marks: list[Any]) -> Callable[..., dict[str, Any]]:
        def mark(_pipeline: Any, _step: int, _time: Any, _tensors: Any) -> dict[str, Any]:
            marks.append(self._clock.mark())
            return {}

        return mark


class Ours:
    """The service's stages in one process, behind its pipeline; arguments as of :class:`Stock`."""

    def __init__(self, model: RandomModel, clock: Clock, prior: Any, decoder: Any) -> None:
        self._clock = clock
        self.pipeline = CascadePipeline(STABLE_CASCADE, _stages(model, prior, decoder))

    def draw(self, request: GenerationRequest) -> Timed:
        """Make a picture from its prompt."""
        return self.vary(request, None)

    def vary(self, request: GenerationRequest, kept: Any) -> Timed:
        """Make a picture from Stage C's latent."""
        marks: dict[str, list[Any]] = {}

        def mark(stage: str, _step: int, _steps: int) -> None:
            marks.setdefault(stage, []).append(self._clock.mark())

        begun_s = time.perf_counter()
        picture = self.pipeline.run(request, kept, mark)
        total_s = time.perf_counter() - begun_s
        steps_s = {stage: self._clock.seconds_between(marks[stage]) for stage in marks}
        return Timed(total_s, picture.seconds, steps_s, picture.latent)


def _stages(model: RandomModel, prior: Any, decoder: Any) -> dict[str, Any]:
    checkpoint = Checkpoint(
        id="random",
        revision="random",
        fingerprint="random",
        licence="",
        geometry=Geometry(),
        defaults=ModelDefaults(),
        components={},
    )
    text = TextEncoder(model.tokenizer, model.text_encoder)
    return {
        "c": StageC(checkpoint, prior, text, CosineSchedule(), None),
        "b": StageB(checkpoint, decoder, CosineSchedule(), None),
        "a": StageA(checkpoint, model.vqgan),
    }


VARIANTS: Final[dict[str, tuple[type[Stock] | type[Ours], str]]] = {
    "stock": (Stock, ""),
    "stock-compiled": (Stock, "default"),
    "stock-graphs": (Stock, "reduce-overhead"),
    "ours": (Ours, ""),
    "ours-compiled": (Ours, "default"),
}
"""Ways to make a picture, with the mode in which torch compiles the U-Nets; empty: it does not."""
PLAIN: Final = tuple(name for name, (_, mode) in VARIANTS.items() if not mode)


def make_variant(
    name: str, model: RandomModel, clock: Clock, compiled: Sequence[str] = UNETS
) -> Stock | Ours:
    """Return one of :data:`VARIANTS`; compiling begins with its first picture.

    Args:
        name: of the variant.
        model: whose modules it shares with all others.
        clock: of the model's device.
        compiled: which of ``UNETS`` a variant compiles that compiles at all.
    """
    variant_class, mode = VARIANTS[name]
    unets = {unet: getattr(model, unet) for unet in UNETS}
    if mode:
        for unet in compiled:
            unets[unet] = torch.compile(unets[unet], fullgraph=True, mode=mode)
    return variant_class(model, clock, **unets)
