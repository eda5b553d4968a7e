"""A picture as the library shows it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from serve.storage.library.marks import Marks
from serve.storage.records import iso_utc
from serve.storage.schema.asset_states import DRAFT


@dataclass(frozen=True, slots=True)
class LibraryItem:
    """A picture as the library shows it."""

    id: str
    job_id: str
    index: int
    latent_id: str
    kind: str
    prompt: str
    seed: int
    width: int
    height: int
    created_at: datetime
    marks: Marks
    boards: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return its HTTP form."""
        names = (
            *("id", "job_id", "index", "latent_id", "kind"),
            "prompt",
            "seed",
            "width",
            "height",
        )
        return {name: getattr(self, name) for name in names} | {
            "created_at": iso_utc(self.created_at),
            "url": f"/v1/images/{self.id}",
            "thumb_url": f"/v1/thumbs/{self.id}",
            **self.marks.to_json(),
            "boards": list(self.boards),
            "state": self.marks.state or DRAFT,
        }
