"""A picture with all that says how it was made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cascade_core.errors import CascadeError
from cascade_core.operations.fields import ImageFormat
from cascade_core.request import GenerationRequest
from serve.storage.library.library_item import LibraryItem

_PARAMETERS = (
    *("negative_prompt", "steps", "guidance_scale", "decoder_steps", "decoder_guidance_scale"),
    "strength",
)


@dataclass(frozen=True, slots=True)
class PictureRecord:
    """A picture of the library.

    Attributes:
        item: as the library shows it.
        image_format: of its file.
        decoder_seed: of its details.
        request: of its job, as it is stored.
    """

    item: LibraryItem
    image_format: ImageFormat
    decoder_seed: int
    request: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return the form that stands beside files."""
        shown = self.item.to_json()
        names = ("id", "job_id", "index", "latent_id", "kind", "prompt", "seed")
        notes = ("star", "rating", "tags", "boards")
        return {
            **{name: shown[name] for name in names},
            "decoder_seed": self.decoder_seed,
            **self._parameters(),
            **{name: shown[name] for name in ("width", "height", "created_at", *notes)},
        }

    def _parameters(self) -> dict[str, Any]:
        """Return values of the request; None where only a later release can read it."""
        try:
            made = GenerationRequest.from_stored(self.request).for_image(self.item.index)
        except CascadeError:
            return dict.fromkeys(_PARAMETERS)
        return {name: getattr(made, name) for name in _PARAMETERS}
