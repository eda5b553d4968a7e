"""The same random weights in diffusers' pipelines and in our stages, plain and compiled."""

from __future__ import annotations

import copy
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
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
from cascade_core.conditioning.tokenizer import ClipTokenizer
from cascade_core.families.stable_cascade import STABLE_CASCADE
from cascade_core.geometry import Geometry
from cascade_core.model_defaults import ModelDefaults
from cascade_core.models.clip import ClipTextConfig, ClipTextModel
from cascade_core.models.network import Network
from cascade_core.models.paella import PaellaConfig, PaellaDecoder
from cascade_core.models.unet import CascadeUnet
from cascade_core.models.unet_config import UnetConfig
from cascade_core.pipeline import CascadePipeline
from cascade_core.request import GenerationRequest
from cascade_core.sampling.step_tables import CosineSchedule
from cascade_core.stages.base import Preparation
from cascade_core.stages.stage_a import StageA
from cascade_core.stages.stage_b import StageB
from cascade_core.stages.stage_c import StageC

UNETS: Final = ("prior", "decoder")
_STAGE_OF: Final = {"prior": "c", "decoder": "b"}
GRAPH_BYTES: Final = 8 * 10**9
"""More than the steps of one picture take."""


@dataclass(frozen=True)
class RandomModel:
    """One model on its device.

    Attributes:
        stock: diffusers' prior, decoder and vqgan, by these names.
    """

    tokenizer: Any
    text_encoder: Any
    stock: dict[str, Any]

    @classmethod
    def make(cls, scale: Scale, device: torch.device, dtype: torch.dtype) -> RandomModel:
        """Make all parts there."""
        parts = {name: random_component(scale, name, device, dtype) for name in WEIGHTS}
        return cls(letter_tokenizer(scale), parts.pop("text_encoder"), parts)

    @cached_property
    def ours(self) -> dict[str, Any]:
        """Our networks by the same names, with a copy of the same weights."""
        builders: dict[str, Callable[[Any], Network]] = {
            "text_encoder": lambda config: ClipTextModel(ClipTextConfig.read(config.to_dict())),
            "prior": lambda config: CascadeUnet(UnetConfig.read(config)),
            "decoder": lambda config: CascadeUnet(UnetConfig.read(config)),
            "vqgan": lambda config: PaellaDecoder(PaellaConfig.read(config)),
        }
        stock = self.stock | {"text_encoder": self.text_encoder}
        return {name: _like(stock[name], build) for name, build in builders.items()}


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

    def warm_up(self) -> None:
        """Do once what a service would do at its start."""

    def draw(self, request: GenerationRequest) -> Timed:
        """Make a picture from its prompt."""

    def vary(self, request: GenerationRequest, kept: Any) -> Timed:
        """Make a picture from what an earlier one kept."""


class Stock:
    """Diffusers' two pipelines, one after the other, as its combined pipeline calls them.

    Every picture of it and of :class:`Ours` gets a prompt of its own.

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
            vqgan=model.stock["vqgan"],
            scheduler=DDPMWuerstchenScheduler(),
            **text,
        )
        for pipeline in (self._prior, self._decoder):
            pipeline.set_progress_bar_config(disable=True)

    def warm_up(self) -> None:
        """Do nothing: what is compiled is compiled at the first picture."""

    def draw(self, request: GenerationRequest) -> Timed:
        """Make a picture from its prompt."""
        marks: list[Any] = []
        begun_s = time.perf_counter()
        prior = self._prior(
            prompt=with_new_prompt(request).prompt,
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
    """The service's stages in one process, behind its pipeline, prepared as the service does it.

    Args:
        model: its networks share their weights with those of all variants.
        preparations: of stages, by the names of their U-Nets.
    """

    def __init__(self, model: RandomModel, preparations: Mapping[str, Preparation]) -> None:
        # Blocks are compiled in place, and other variants run them as they are.
        unets = {unet: _sharing_weights(model.ours[unet]) for unet in UNETS}
        self.pipeline = CascadePipeline(STABLE_CASCADE, _stages(model, **unets))
        self._prepared = [self.pipeline.stages[_STAGE_OF[unet]] for unet in preparations]
        for stage, preparation in zip(self._prepared, preparations.values(), strict=True):
            stage.prepare(preparation)

    def warm_up(self) -> None:
        """Warm up the stages that have something prepared."""
        for stage in self._prepared:
            stage.warm_up()

    def draw(self, request: GenerationRequest) -> Timed:
        """Make a picture from its prompt."""
        return self.vary(with_new_prompt(request), None)

    def vary(self, request: GenerationRequest, kept: Any) -> Timed:
        """Make a picture from Stage C's latent."""
        # The pipeline tells a step when it is done; a mark would come after the next one.
        ends_s: dict[str, list[float]] = {}

        def note(stage: str, _step: int, _steps: int) -> None:
            ends_s.setdefault(stage, []).append(time.perf_counter())

        begun_s = time.perf_counter()
        picture = self.pipeline.run(request, kept, note)
        total_s = time.perf_counter() - begun_s
        steps_s = {
            stage: [after - before for before, after in itertools.pairwise(ends)]
            for stage, ends in ends_s.items()
        }
        return Timed(total_s, picture.seconds, steps_s, picture.latent)


def _sharing_weights(network: Network) -> Any:
    """Return a copy of a network around the same weights."""
    weights = [*network.parameters(), *network.buffers()]
    return copy.deepcopy(network, {id(weight): weight for weight in weights})


def _stages(model: RandomModel, prior: Any, decoder: Any) -> dict[str, Any]:
    checkpoint = Checkpoint(
        family=STABLE_CASCADE.name,
        id="random",
        revision="random",
        fingerprint="random",
        licence="",
        geometry=Geometry(),
        defaults=ModelDefaults(),
        components={},
    )
    backend, length = model.tokenizer.backend_tokenizer, model.tokenizer.model_max_length
    tokenizer = ClipTokenizer(backend, model.tokenizer.pad_token, length)
    text = TextEncoder(tokenizer, model.ours["text_encoder"])
    return {
        "c": StageC(checkpoint, prior, text, CosineSchedule(), None),
        "b": StageB(checkpoint, decoder, CosineSchedule(), None),
        "a": StageA(checkpoint, model.ours["vqgan"]),
    }


def _like(stock: Any, build: Callable[[Any], Network]) -> Network:
    """Return our network of a stock module's configuration, weights, device and dtype."""
    with torch.device("meta"):
        network = build(stock.config).to(stock.dtype).eval().requires_grad_(False)
    network.to_empty(device=stock.device)
    missing, unknown = network.compare(stock.state_dict())
    if missing or unknown:
        raise ValueError(f"our network lacks {sorted(missing)} and does not know {sorted(unknown)}")
    network.fill(stock.state_dict().items())
    return network


VARIANTS: Final[dict[str, str | Preparation]] = {
    "stock": "",
    "stock-compiled": "default",
    "stock-graphs": "reduce-overhead",
    "ours": Preparation(),
    "ours-compiled": Preparation(compiles=True),
    "ours-graphs": Preparation(graph_bytes=GRAPH_BYTES),
    "ours-compiled-graphs": Preparation(compiles=True, graph_bytes=GRAPH_BYTES),
}
"""Ways to make a picture: diffusers', with the mode in which torch compiles the U-Nets (empty: it
does not), and ours, with what the stages prepare."""
PLAIN: Final = tuple(name for name, how in VARIANTS.items() if how in ("", Preparation()))


def make_variant(
    name: str,
    model: RandomModel,
    clock: Clock,
    side_px: int,
    changed: Sequence[str] = UNETS,
) -> Stock | Ours:
    """Return one of :data:`VARIANTS`; its warm-up or its first picture compiles and records.

    Args:
        name: of the variant.
        model: all variants share its weights.
        clock: of the model's device.
        side_px: of the pictures whose steps are recorded.
        changed: which of ``UNETS`` a variant compiles or records, if it does so at all.
    """
    how = VARIANTS[name]
    if isinstance(how, Preparation):
        sizes = ((side_px, side_px),) if how.graph_bytes else ()
        prepared = changed if name not in PLAIN else ()
        return Ours(model, dict.fromkeys(prepared, replace(how, sizes=sizes)))
    unets = {unet: model.stock[unet] for unet in UNETS}
    if how:
        for unet in changed:
            unets[unet] = torch.compile(unets[unet], fullgraph=True, mode=how)
    return Stock(model, clock, **unets)


def with_new_prompt(request: GenerationRequest) -> GenerationRequest:
    """Return the request with a prompt that was not used before: embeddings of texts are kept."""
    return replace(request, prompt=f"{next(_numbers)} {request.prompt}")


_numbers = itertools.count()
