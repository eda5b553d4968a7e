"""What a model suggests for the values that a request leaves open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from cascade_core.errors import InvalidRequest

MAX_ROWS: Final = 64
"""Most images in one step that a model or a setting may state."""
StrengthWord = Literal["subtle", "strong"]
DEFAULT_STRENGTH: Final[StrengthWord] = "subtle"
"""Of a request that starts from a latent and names no strength."""
DEFAULT_IMAGE_STRENGTH: Final = 0.7
"""The same of a request that starts from a picture; equal for all models."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDefaults:
    """Defaults of requests, and the largest side; a model folder's ``cascade.json`` overrides.

    A model that does not state a largest side takes every size that a request may name:
    ``max_side`` is :data:`cascade_core.operations.fields.MAX_SIDE_PX`.

    Attributes:
        vary: what the words for ``strength`` stand for: times of this model's noise schedule.
    """

    width: int = 1024
    height: int = 1024
    max_side: int = 2048
    steps: int = 20
    guidance_scale: float = 4.0
    decoder_steps: int = 10
    decoder_guidance_scale: float = 0.0
    suggestions: tuple[str, ...] = ()
    vary: Mapping[StrengthWord, float] = field(
        default_factory=lambda: {"subtle": 0.7, "strong": 0.9}
    )

    def strength(self, given: object) -> object:
        """Return how far a request departs from a latent, 0 to 1; a word stands for a number.

        Raises:
            InvalidRequest: the word stands for none.
        """
        if not isinstance(given, str):
            return given
        for word, number in self.vary.items():
            if word == given:
                return number
        words = ", ".join(self.vary)
        raise InvalidRequest(f"strength must be a number or one of {words}", "strength")
