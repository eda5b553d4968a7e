"""``series``: one template, many variants, all near the composition of one hero picture."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, cast

from cascade_core.errors import InvalidRequest
from cascade_core.model_defaults import DEFAULT_STRENGTH, ModelDefaults
from cascade_core.operations.fields import (
    FIELDS,
    MAX_VARIANTS,
    SIDES,
    check_new_prompts,
    check_new_text,
    check_side,
    random_seed,
)
from cascade_core.operations.from_latent import FromLatent, values_of
from cascade_core.operations.generate import Generate
from cascade_core.operations.operation import StageT, Values
from cascade_core.operations.template import check_template, fill
from cascade_core.operations.vary import Vary

_CROCKFORD: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


class Series(FromLatent):
    """Makes image ``i`` as a variation of the hero's latent, with the prompt of variant ``i``.

    All images have one noise and one grain: their seeds are equal. So each is what ``vary`` makes
    of the hero with that prompt and those seeds.

    If no hero is named, image 0 is the hero: the new picture that ``generate`` makes of its prompt.
    The other images start from its latent.
    """

    name = "series"
    title = "a series"
    latent_field = "hero"
    fixed_by_latent = ("width", "height")
    fields = (
        "template",
        "variants",
        "hero",
        "strength",
        "negative_prompt",
        "width",
        "height",
        "seed",
        "steps",
        "guidance_scale",
        "decoder_seed",
        "decoder_steps",
        "decoder_guidance_scale",
        "format",
    )
    required = ("template", "variants")
    copied = MappingProxyType({"decoder_seed": "seed"})
    seeds = ()
    max_images = MAX_VARIANTS

    @property
    def image_kind(self) -> str:
        """Return ``vary``; see :attr:`Operation.image_kind`."""
        return Vary.name

    def defaults(self, model: ModelDefaults) -> dict[str, object]:
        """Return the values of a series without a hero; see :meth:`Operation.defaults`."""
        return Generate().defaults(model) | {"strength": DEFAULT_STRENGTH, "hero": None}

    def route(self, stages: Sequence[StageT]) -> tuple[StageT, ...]:
        """Return the stages of a variation."""
        return Vary().route(stages)

    def check(self, given: Values) -> None:
        """Check the hero, the template and every prompt; see :meth:`Operation.check`."""
        super().check(given)
        for name in ("template", "variants"):
            if name not in given:
                raise InvalidRequest(f"{name} is missing", name)
            FIELDS[name].check(name, given[name])
        template = str(given["template"])
        check_new_text("template", template)
        check_new_prompts({"negative_prompt": given.get("negative_prompt", "")})
        check_template(template, _variants(given))

    def complete(
        self, given: Values, defaults: ModelDefaults, source: Values | None
    ) -> dict[str, object]:
        """Fill in the hero's own values; the decoder's seed is the seed if it was not given.

        The request keeps the template as its ``prompt``, and the hero as its ``latent_id``. Without
        a hero the values are those of a new picture, and ``hero_id`` is a new id.
        """
        seed = given.get("seed", random_seed())
        hero = given.get("hero")
        filled = {
            **self.defaults(defaults),
            **values_of(source),
            "seed": seed,
            "decoder_seed": seed,
            **given,
            "kind": self.name,
            "prompt": given["template"],
            "n": len(_variants(given)),
            "latent_id": hero,
            "hero_id": _new_id() if hero is None else None,
        }
        for name in SIDES:
            if name in given:
                check_side(name, filled[name], defaults.max_side)
        del filled["template"], filled["hero"]
        return filled | {"strength": defaults.strength(filled["strength"])}

    def values_of_image(self, values: Values, index: int) -> dict[str, object]:
        """Return the variation that image ``index`` is; the hero is a new picture."""
        prompt = fill(str(values["prompt"]), _variants(values)[index])
        own: dict[str, object] = {"prompt": prompt, "variants": None}
        if index == 0 and values["hero_id"] is not None:
            return own | {"kind": Generate.name, "strength": None}
        return own | {"kind": Vary.name}

    def field_of_text(self, name: str, index: int) -> str:
        """Return the variant for a prompt; see :meth:`Operation.field_of_text`."""
        return f"variants[{index}]" if name == "prompt" else name


def _variants(values: Values) -> Sequence[Mapping[str, str]]:
    return cast(Sequence[Mapping[str, str]], values["variants"])


def _new_id() -> str:
    """Return a new ULID, as https://github.com/ulid/spec defines it.

    The library for it is missing where the engine runs alone, see ``bench.gpu``.
    """
    bits = time.time_ns() // 1_000_000 << 80 | secrets.randbits(80)
    return "".join(_CROCKFORD[bits >> shift & 31] for shift in range(125, -1, -5))
