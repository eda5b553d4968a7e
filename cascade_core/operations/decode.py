"""``decode``: a stored composition drawn again, at another size or with other details."""

from __future__ import annotations

from collections.abc import Sequence

from cascade_core.model_defaults import ModelDefaults
from cascade_core.operations.fields import SIDES, check_side, random_seed
from cascade_core.operations.from_latent import FromLatent, after_kept, check_aspect, values_of
from cascade_core.operations.operation import StageT, Values


class Decode(FromLatent):
    """Draws details on a stored composition; image ``i`` has its own.

    With the latent's own size it does what ``vary_details`` does.
    """

    name = "decode"
    title = "larger or finer pictures"
    fixed_by_latent = ("prompt", "negative_prompt", "seed", "steps", "guidance_scale")
    fields = (
        "latent_id",
        "width",
        "height",
        "n",
        "decoder_seed",
        "decoder_steps",
        "decoder_guidance_scale",
        "format",
    )
    seeds = ("decoder_seed",)

    def route(self, stages: Sequence[StageT]) -> tuple[StageT, ...]:
        """Return the stages after the one whose output is stored; none if they cannot scale it."""
        left = after_kept(stages)
        return left if any(stage.scales for stage in left) else ()

    def complete(
        self, given: Values, defaults: ModelDefaults, source: Values | None
    ) -> dict[str, object]:
        """Fill in the values of the image that the latent was made for, but not its details.

        Raises:
            InvalidRequest: the size is none of the model's.
            Unsupported: it has not the latent's aspect.
        """
        own = values_of(source)
        new = {"kind": self.name, "decoder_seed": random_seed()}
        filled = {**own, **self.defaults(defaults), **new, **given}
        for name in SIDES:
            if name in given:
                check_side(name, filled[name], defaults.max_side)
        check_aspect(filled, own)
        return filled
