"""What a client chooses of a job that waits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from cascade_core.request import GenerationRequest


@dataclass(frozen=True, slots=True)
class Choice:
    """The images of a waiting job that its client has chosen to be finished.

    Attributes:
        indices: of the images, each once.
        at: when they were chosen.
        changes: the fields of the request that are other than before, with their values.
    """

    indices: tuple[int, ...]
    at: datetime
    changes: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_stored(cls, stored: Mapping[str, Any]) -> Choice:
        """Rebuild from :meth:`to_stored`, which may hold more by now."""
        at = datetime.fromisoformat(stored["at"])
        return cls(tuple(stored["indices"]), at, stored["changes"])

    def to_stored(self) -> dict[str, Any]:
        """Return plain JSON-able values."""
        at, indices = self.at.isoformat(), list(self.indices)
        return {"indices": indices, "at": at, "changes": self.changes}

    @property
    def size(self) -> dict[str, int]:
        """The ``width`` and ``height`` of the pictures, those of them that are other than before.

        A composition can be drawn at another size, but not composed at it again.
        """
        return {name: self.changes[name] for name in ("width", "height") if name in self.changes}

    def applied_to(self, request: GenerationRequest) -> GenerationRequest:
        """Return the request by which the chosen images are finished."""
        return replace(request, stop_after=None, **self.changes)
