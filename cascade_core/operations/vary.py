"""``vary``: new compositions near that of a stored latent; with another prompt, a remix."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType

from cascade_core.model_defaults import DEFAULT_STRENGTH, ModelDefaults
from cascade_core.operations.fields import check_new_prompts, random_seed
from cascade_core.operations.from_latent import FromLatent, values_of
from cascade_core.operations.operation import StageT, Values


class Vary(FromLatent):
    """Adds noise to a latent and composes from there; image ``i`` has its own noise.

    ``strength`` is the time of the noise schedule at which the composition starts: 1 keeps nothing
    of the latent, 0 all of it.
    """

    name = "vary"
    title = "variations"
    fixed_by_latent = ("width", "height")
    fields = (
        "latent_id",
        "strength",
        "prompt",
        "negative_prompt",
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
    copied = MappingProxyType({"decoder_seed": "seed"})
    seeds = ("seed", "decoder_seed")

    def defaults(self, model: ModelDefaults) -> dict[str, object]:
        """Return the strength as a word, too; see :meth:`Operation.defaults`."""
        return super().defaults(model) | {"strength": DEFAULT_STRENGTH, "stop_after": None}

    def route(self, stages: Sequence[StageT]) -> tuple[StageT, ...]:
        """Return all stages if the first one's output is stored; otherwise none.

        A latent stands for the whole input of the stage that made it only if that stage is the
        first one.
        """
        return tuple(stages) if stages and stages[0].keeps_output else ()

    def check(self, given: Values) -> None:
        """Check the latent and new prompts; see :meth:`Operation.check`."""
        super().check(given)
        check_new_prompts(given)

    def complete(
        self, given: Values, defaults: ModelDefaults, source: Values | None
    ) -> dict[str, object]:
        """Fill in the latent's own values; the decoder's seed is the seed if it was not given."""
        seed = given.get("seed", random_seed())
        filled = {
            **values_of(source),
            **self.defaults(defaults),
            "kind": self.name,
            "seed": seed,
            "decoder_seed": seed,
            **given,
        }
        return filled | {"strength": defaults.strength(filled["strength"])}
