"""What a model suggests for the values that a request leaves open."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MAX_ROWS: Final = 64
"""Most images in one step that a model or a setting may state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDefaults:
    """Defaults of requests, and the largest side; a model folder's ``cascade.json`` overrides.

    A model that does not state a largest side takes every size that a request may name:
    ``max_side`` is :data:`cascade_core.operations.fields.MAX_SIDE_PX`.
    """

    width: int = 1024
    height: int = 1024
    max_side: int = 2048
    steps: int = 20
    guidance_scale: float = 4.0
    decoder_steps: int = 10
    decoder_guidance_scale: float = 0.0
    suggestions: tuple[str, ...] = ()
