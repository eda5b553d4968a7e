"""``vary_details``: new details on the composition of a stored latent."""

from __future__ import annotations

from collections.abc import Sequence

from cascade_core.errors import Unsupported
from cascade_core.model_defaults import ModelDefaults
from cascade_core.operations.fields import LATENT_FIELDS, random_seed
from cascade_core.operations.operation import Operation, StageT, Values


class VaryDetails(Operation):
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
        """Return the stages after the one whose output is stored."""
        kept = [number for number, stage in enumerate(stages) if stage.keeps_output]
        return tuple(stages[kept[-1] + 1 :]) if kept else ()

    def check(self, given: Values) -> None:
        """Check that a latent is named and decides alone; see :meth:`Operation.check`."""
        for name in given:
            if name in self.fixed_by_latent:
                message = f"{name} comes from the latent; leave it out to vary details"
                raise Unsupported(message, name)
        if "latent_id" not in given:
            raise Unsupported(f"{self.name} needs latent_id", "latent_id")

    def complete(
        self, given: Values, defaults: ModelDefaults, source: Values | None
    ) -> dict[str, object]:
        """Fill in the values of the image that the latent was made for, but not its details."""
        new = {"kind": self.name, "format": "png", "decoder_seed": random_seed()}
        return {**(source or {}), **new, **given}
