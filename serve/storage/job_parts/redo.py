"""A client's request to compose images of a waiting job anew, as its job keeps it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from cascade_core.operations.fields import MAX_SEED, SEEDS

MAX_REDOS: Final = 20
"""Of one job: its row keeps them all, so that each request is recognised when it is sent again."""

REPLACED_COLUMNS: Final = ("index", "latent_id", "seed", "decoder_seed", "preview", "latent_use")
"""What is kept of an image's composition when another one takes its place."""


@dataclass(frozen=True, slots=True)
class Redo:
    """Compositions that their job's client had made anew.

    Attributes:
        at: when the client asked.
        key: of the request, see :class:`serve.storage.records.JobIdentity`; empty if the job was
            imported.
        body: digest of the request; empty as well.
        replaced: of each composition that was replaced, its values of :data:`REPLACED_COLUMNS`.
    """

    at: datetime
    key: str
    body: str
    replaced: tuple[Mapping[str, Any], ...]

    @classmethod
    def from_stored(cls, stored: Mapping[str, Any]) -> Redo:
        """Rebuild from :meth:`to_stored`; columns that a later release added are left out."""
        at = datetime.fromisoformat(stored["at"])
        key, body = stored.get("key", ""), stored.get("body", "")
        replaced = ({name: row[name] for name in REPLACED_COLUMNS} for row in stored["replaced"])
        return cls(at, key, body, tuple(replaced))

    def to_stored(self) -> dict[str, Any]:
        """Return plain JSON-able values."""
        replaced = [dict(values) for values in self.replaced]
        return {"at": self.at.isoformat(), "key": self.key, "body": self.body, "replaced": replaced}


def redos_from(stored: Sequence[Mapping[str, Any]] | None) -> tuple[Redo, ...]:
    """Return the redos of a job from its column, oldest first."""
    return tuple(map(Redo.from_stored, stored or ()))


def columns_anew(image: Mapping[str, Any], n: int, latent_id: str) -> dict[str, Any]:
    """Return the columns of an image that is to be composed anew.

    Its seeds become those that image ``index + n`` of the job's request would have. So no other
    image of the job has them, and the same request, redone as often, makes equal pixels.

    Args:
        image: its columns so far.
        n: images of the job.
        latent_id: of the composition to be made.
    """
    seeds = {name: (image[name] + n) % (MAX_SEED + 1) for name in SEEDS}
    empty = dict.fromkeys(("latent_use", "preview"))
    return {**seeds, **empty, "latent_id": latent_id, "redo_count": image["redo_count"] + 1}
