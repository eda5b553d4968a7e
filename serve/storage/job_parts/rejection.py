"""A composition that a checker rejected, as its job keeps it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any


@dataclass(frozen=True, slots=True)
class Rejection:
    """A composition that a checker rejected; its image was composed anew with other seeds.

    Attributes:
        index: of the image.
        rule: of the checker.
        seed, decoder_seed: that the image had.
        part: of the job, in which that was.
    """

    index: int
    rule: str
    seed: int
    decoder_seed: int
    part: str

    @property
    def seeds(self) -> tuple[int, int]:
        """Its seeds of composition and details."""
        return self.seed, self.decoder_seed

    @classmethod
    def from_stored(cls, stored: Mapping[str, Any]) -> Rejection:
        """Rebuild from :meth:`to_stored`; values that a later release added are left out."""
        return cls(**{field.name: stored[field.name] for field in fields(cls)})

    def to_stored(self) -> dict[str, Any]:
        """Return plain JSON-able values."""
        return asdict(self)

    def to_json(self) -> dict[str, Any]:
        """Return what clients see of it."""
        stored = self.to_stored()
        del stored["part"]
        return stored


def rejections_from(stored: Sequence[Mapping[str, Any]] | None) -> tuple[Rejection, ...]:
    """Return the rejections of a job from its column, oldest first."""
    return tuple(map(Rejection.from_stored, stored or ()))
