"""``generate``: new pictures from a prompt, through all stages."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType

from cascade_core.errors import InvalidRequest, Unsupported
from cascade_core.model_defaults import ModelDefaults
from cascade_core.operations.fields import SIDES, check_new_prompts, check_side, random_seed
from cascade_core.operations.operation import Operation, StageT, Values


class Generate(Operation):
    """Makes new pictures; image ``i`` has its own composition and its own details."""

    name = "generate"
    title = "new pictures"
    fields = (
        "prompt",
        "negative_prompt",
        "width",
        "height",
        "n",
        "seed",
        "steps",
        "guidance_scale",
        "decoder_seed",
        "decoder_steps",
        "decoder_guidance_scale",
        "format",
        "stop_after",
    )
    required = ("prompt",)
    copied = MappingProxyType({"decoder_seed": "seed"})
    seeds = ("seed", "decoder_seed")

    def defaults(self, model: ModelDefaults) -> dict[str, object]:
        """Return the model's values; see :meth:`Operation.defaults`."""
        return super().defaults(model) | {
            "negative_prompt": "",
            "stop_after": None,
            "width": model.width,
            "height": model.height,
            "steps": model.steps,
            "guidance_scale": model.guidance_scale,
            "decoder_steps": model.decoder_steps,
            "decoder_guidance_scale": model.decoder_guidance_scale,
        }

    def route(self, stages: Sequence[StageT]) -> tuple[StageT, ...]:
        """Return all stages."""
        return tuple(stages)

    def check(self, given: Values) -> None:
        """Check that there is a prompt and no latent; see :meth:`Operation.check`."""
        if "prompt" not in given:
            raise InvalidRequest("prompt is missing", "prompt")
        check_new_prompts(given)
        for name in given:
            if name not in self.fields:
                raise Unsupported(f"{name} does not go with kind {self.name}", name)

    def complete(
        self, given: Values, defaults: ModelDefaults, source: Values | None
    ) -> dict[str, object]:
        """Fill in the model's defaults; the decoder's seed is the seed if it was not given."""
        seed = given.get("seed", random_seed())
        seeds = {"seed": seed, "decoder_seed": seed}
        filled = {"kind": self.name, **self.defaults(defaults), **seeds, **given}
        for name in SIDES:
            check_side(name, filled[name], defaults.max_side)
        return filled
