"""Example prompts of the configured model, for help texts; reads one small file only."""

from __future__ import annotations

import json
import os

from cascade_core.checkpoints.model_folders import DEMO_MODEL, folder_of

_FALLBACK = "an otter reading a newspaper, oil painting"


def suggestions(limit: int = 3, model: str = "") -> list[str]:
    """Return example prompts of a model; one general prompt if it names none.

    Args:
        limit: maximum number.
        model: ``demo`` or a folder; empty: ``CASCADE_MODEL``, or the first of ``CASCADE_MODELS``.
    """
    first = os.environ.get("CASCADE_MODELS", "").partition(",")[0].strip()
    folder = folder_of(model or os.environ.get("CASCADE_MODEL") or first or DEMO_MODEL)
    try:
        found = json.loads((folder / "cascade.json").read_text(encoding="utf-8"))["suggestions"]
        prompts = [str(prompt) for prompt in found][:limit]
    except (OSError, ValueError, KeyError, TypeError):
        prompts = []
    return prompts or [_FALLBACK]
