"""``vary_details``: new details on the composition of a stored latent."""

from __future__ import annotations

from collections.abc import Sequence

from cascade_core.model_defaults import ModelDefaults
from cascade_core.operations.fields import LATENT_FIELDS, random_seed
from cascade_core.operations.from_latent import FromLatent, after_kept, values_of
from cascade_core.operations.operation import StageT, Values


class VaryDetails(FromLatent):
    """Makes pictures that share one composition; image ``i`` has its own details."""

    name = "vary_details"
    title = "new details"
    fixed_by_latent = LATENT_FIELDS
    fields = (
        "latent_id",
        "n",
        "decoder_seed",
        "decoder_steps",
        "decoder_guidance_scale",
        "format",
    )
    seeds = ("decoder_seed",)

    def route(self, stages: Sequence[StageT]) -> tuple[StageT, ...]:
        """Return the stages after the one whose output is stored; none if they draw no details."""
        left = after_kept(stages)
        return left if any(stage.draws_details for stage in left) else ()

    def complete(
        self, given: Values, defaults: ModelDefaults, source: Values | None
    ) -> dict[str, object]:
        """Fill in the values of the image that the latent was made for, but not its details."""
        return {
            **values_of(source),
            **self.defaults(defaults),
            "kind": self.name,
            "decoder_seed": random_seed(),
            **given,
        }
