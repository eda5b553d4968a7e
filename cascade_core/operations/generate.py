"""``generate``: new pictures from a prompt, through all stages."""

from __future__ import annotations

from collections.abc import Sequence

from cascade_core.errors import InvalidRequest, Unsupported
from cascade_core.model_defaults import ModelDefaults
from cascade_core.operations.fields import check_new_prompts, check_side, random_seed
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
    seeds = ("seed", "decoder_seed")

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
        filled: dict[str, object] = {
            "kind": self.name,
            "width": defaults.width,
            "height": defaults.height,
            "steps": defaults.steps,
            "guidance_scale": defaults.guidance_scale,
            "decoder_steps": defaults.decoder_steps,
            "decoder_guidance_scale": defaults.decoder_guidance_scale,
            "seed": seed,
            "decoder_seed": seed,
        }
        filled |= given
        for name in ("width", "height"):
            check_side(name, filled[name], defaults.max_side)
        return filled
