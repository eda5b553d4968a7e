"""What the operations that start from a stored latent have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

from cascade_core.errors import Unsupported
from cascade_core.geometry import have_one_aspect
from cascade_core.operations.fields import LATENT_FIELDS
from cascade_core.operations.operation import Operation, StageT, Values

_KEPT_FIELDS: Final = (*LATENT_FIELDS, "decoder_steps", "decoder_guidance_scale")


class FromLatent(Operation):
    """An operation that needs a stored latent, and takes what is not given from that latent."""

    required: ClassVar[tuple[str, ...]] = ("latent_id",)

    def check(self, given: Values) -> None:
        """Check that a latent is named if one is needed, and that nothing is given that it decides.

        Raises:
            Unsupported: see :meth:`Operation.check`.
        """
        for name in given:
            if name in self.fixed_by_latent and self.latent_field in given:
                raise Unsupported(f"{name} comes from the latent; leave it out", name)
            if name not in self.fields:
                raise Unsupported(f"{name} does not go with kind {self.name}", name)
        if self.latent_field in self.required and self.latent_field not in given:
            raise Unsupported(f"{self.name} needs {self.latent_field}", self.latent_field)


def values_of(source: Values | None) -> dict[str, object]:
    """Return what a new request takes from the one that made the latent.

    That is what the picture shows and how it was drawn, not how that job began.
    """
    return {name: source[name] for name in _KEPT_FIELDS if name in source} if source else {}


def check_aspect(asked: Values, own: Values) -> None:
    """Check that a size is the latent's, scaled: a composition is never stretched.

    Args:
        asked: the values of the request, with ``width`` and ``height``.
        own: those of the request that made the latent.

    Raises:
        Unsupported: it is not; names the side that differs from the latent's.
    """
    if have_one_aspect(_size(asked), _size(own)):
        return
    name = "width" if asked["width"] != own["width"] else "height"
    message = (
        f"width and height must have the aspect of the latent, {own['width']}x{own['height']}, "
        f"got {asked['width']}x{asked['height']}"
    )
    raise Unsupported(message, name)


def _size(values: Values) -> tuple[int, int]:
    width, height = values["width"], values["height"]
    assert isinstance(width, int)
    assert isinstance(height, int)
    return width, height


def after_kept(stages: Sequence[StageT]) -> tuple[StageT, ...]:
    """Return the stages after the one whose output is stored; none if no output is."""
    kept = [number for number, stage in enumerate(stages) if stage.keeps_output]
    return tuple(stages[kept[-1] + 1 :]) if kept else ()
