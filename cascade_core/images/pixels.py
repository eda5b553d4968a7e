"""The type of a picture's pixels, for stages, the engine and files alike."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Rgb = npt.NDArray[np.uint8]
"""A picture as (height, width, 3) RGB."""
