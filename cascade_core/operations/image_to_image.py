"""``image_to_image``: new pictures that start from an upload, or from a picture of this service."""

from __future__ import annotations

from collections.abc import Sequence
from math import log
from types import MappingProxyType

from cascade_core.errors import InvalidRequest, Unsupported
from cascade_core.geometry import SIZE_MULTIPLE_PX
from cascade_core.model_defaults import DEFAULT_IMAGE_STRENGTH, ModelDefaults
from cascade_core.operations.fields import (
    MIN_SIDE_PX,
    check_new_prompts,
    check_side,
    random_seed,
)
from cascade_core.operations.operation import Operation, StageT, Values


class ImageToImage(Operation):
    """Adds noise to a picture's latent and composes from there; image ``i`` has its own noise.

    The latent of an upload is encoded; that of a picture of this service is the stored one.
    ``strength`` is the time of the noise schedule at which the composition starts.
    """

    name = "image_to_image"
    title = "pictures that start from a picture"
    latent_field = "image"
    fields = (
        "image",
        "strength",
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
    required = ("image", "prompt")
    copied = MappingProxyType({"decoder_seed": "seed"})
    seeds = ("seed", "decoder_seed")

    def defaults(self, model: ModelDefaults) -> dict[str, object]:
        """Return the model's values, but no size; see :meth:`Operation.defaults`."""
        return super().defaults(model) | {
            "negative_prompt": "",
            "stop_after": None,
            "strength": DEFAULT_IMAGE_STRENGTH,
            "steps": model.steps,
            "guidance_scale": model.guidance_scale,
            "decoder_steps": model.decoder_steps,
            "decoder_guidance_scale": model.decoder_guidance_scale,
        }

    def route(self, stages: Sequence[StageT]) -> tuple[StageT, ...]:
        """Return all stages if the first one's output is stored; otherwise none.

        What the encoder makes takes the place of such an output.
        """
        return tuple(stages) if stages and stages[0].keeps_output else ()

    def check(self, given: Values) -> None:
        """Check that there are a picture and a prompt; see :meth:`Operation.check`."""
        for name in given:
            if name not in self.fields:
                raise Unsupported(f"{name} does not go with kind {self.name}", name)
        for name in self.required:
            if name not in given:
                raise InvalidRequest(f"{name} is missing", name)
        check_new_prompts(given)

    def complete(
        self, given: Values, defaults: ModelDefaults, source: Values | None
    ) -> dict[str, object]:
        """Fill in the model's defaults; see :meth:`Operation.complete`.

        A stored latent has its size. For an upload, the size is the model's usual area in the
        upload's aspect, unless one is given.

        Args:
            given: the client's values.
            defaults: the model's.
            source: the request that made the stored latent; of an upload, its ``width`` and
                ``height``.

        Raises:
            InvalidRequest: a value is outside what this model can do.
            Unsupported: the size is another one than that of the stored latent.
        """
        seed = given.get("seed", random_seed())
        size = _size(given, defaults, source or {})
        seeds = {"seed": seed, "decoder_seed": seed}
        filled = {"kind": self.name, **self.defaults(defaults), **seeds, **given, **size}
        return filled | {"strength": defaults.strength(filled["strength"])}


def _size(given: Values, defaults: ModelDefaults, source: Values) -> dict[str, object]:
    asked = {name: given[name] for name in ("width", "height") if name in given}
    if "latent_id" in given:
        own = {name: source[name] for name in ("width", "height")}
        for name, side in asked.items():
            if side != own[name]:
                size = f"{own['width']}x{own['height']}"
                raise Unsupported(f"{name} is that of the picture, {size} px; leave it out", name)
        return own
    for name, side in asked.items():
        check_side(name, side, defaults.max_side)
    width, height = source.get("width"), source.get("height")
    if asked or not isinstance(width, int) or not isinstance(height, int):
        return {"width": defaults.width, "height": defaults.height, **asked}
    chosen = closest_size(width / height, defaults)
    return {"width": chosen[0], "height": chosen[1]}


def closest_size(aspect: float, defaults: ModelDefaults) -> tuple[int, int]:
    """Return the model's size, width and height, closest to an aspect at its usual area.

    Of a wrong aspect and a wrong area, by their factors, the aspect counts twice: a part of the
    picture would be cut off.
    """
    sides = range(MIN_SIDE_PX, defaults.max_side + 1, SIZE_MULTIPLE_PX)
    area = defaults.width * defaults.height

    def distance(size: tuple[int, int]) -> float:
        width, height = size
        return 2 * abs(log(width / height / aspect)) + abs(log(width * height / area))

    return min(((width, height) for width in sides for height in sides), key=distance)
