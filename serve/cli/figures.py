"""Figures of pictures that need no model: sharpness, diversity over seeds, and the scorer's own."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from math import isfinite
from typing import TYPE_CHECKING, Any, Final

from serve.cli.output import CliError

if TYPE_CHECKING:
    from PIL import Image

SCORER_VARIABLE: Final = "CASCADE_SCORER"
DEFAULT_SCORER: Final = "recipe.evaluation.scorer:score_picture"
"""Knows prompts in the demo models' vocabulary alone."""
_COMPARED_PX: Final = 32

Scorer = Callable[["Image.Image", str], Mapping[str, float]]


def scorer_path() -> str:
    """Return the path of the scorer that is set, ``module:function``."""
    return os.environ.get(SCORER_VARIABLE, "").strip() or DEFAULT_SCORER


def load_scorer(path: str) -> Scorer:
    """Return the scorer at a path.

    Raises:
        CliError: it cannot be imported, or is no function.
    """
    module, _, name = path.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except Exception as error:  # the module is the operator's own
        if path == DEFAULT_SCORER and isinstance(error, ModuleNotFoundError):
            return lambda _picture, _prompt: {}  # a container has no recipe
        raise CliError(f"{SCORER_VARIABLE}: {path} failed: {_described(error)}") from error
    if not callable(found):
        raise CliError(f"{SCORER_VARIABLE}: {path} is no function")
    return found  # type: ignore[no-any-return]


def scores_of(scorer: Scorer, path: str, picture: Image.Image, prompt: str) -> dict[str, float]:
    """Return a picture's scores by name; empty if the scorer has none for its prompt.

    Raises:
        CliError: the scorer failed, or answered no numbers.
    """
    try:
        scores = dict(scorer(picture, prompt))
        found = {str(name): float(value) for name, value in scores.items()}
    except Exception as error:  # it is the operator's own
        raise CliError(f"{SCORER_VARIABLE}: {path} failed: {_described(error)}") from error
    if not all(isfinite(value) for value in found.values()):
        raise CliError(f"{SCORER_VARIABLE}: {path} answered a number that is not finite")
    return found


def sharpness(picture: Image.Image) -> float:
    """Return the variance of the Laplacian of a picture's brightness from 0 to 255.

    A measure of focus: Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy", 2000.
    Grain and patterns raise it, too, so it says something between pictures of one prompt alone.
    """
    import numpy as np

    grey = np.asarray(picture.convert("L"), np.float64)
    around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    return float((around - 4 * grey[1:-1, 1:-1]).var())


def diversity(pictures: Sequence[Image.Image]) -> float | None:
    """Return how much the pictures of one prompt differ, from 0 (not at all) to 1.

    That is the mean over all pairs of the root of the mean squared difference of their pixels, at
    32x32 pixels and from 0 to 1. None of fewer than two pictures.
    """
    import numpy as np

    small = [_small(picture) for picture in pictures]
    found = [float(np.sqrt(np.square(a - b).mean())) for a, b in combinations(small, 2)]
    return sum(found) / len(found) if found else None


def difference(one: Image.Image, other: Image.Image) -> float | None:
    """Return the mean absolute difference of two pictures' pixels, of 255; None of other sizes."""
    import numpy as np

    if one.size != other.size:
        return None
    a, b = (np.asarray(picture.convert("RGB"), np.float64) for picture in (one, other))
    return float(np.abs(a - b).mean())


def _small(picture: Image.Image) -> Any:
    import numpy as np

    small = picture.convert("RGB").resize((_COMPARED_PX, _COMPARED_PX))
    return np.asarray(small, np.float64) / 255


def _described(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
