"""A picture's fingerprint: 64 bits that stay nearly the same when it is converted or made smaller.

It is a difference hash (dHash): 9 x 8 means of grey, and for each pair of neighbours in a row a bit
that says whether it grows brighter to the right. Copies differ in a few bits; other pictures in
about 32, but those of even surfaces have few edges and resemble each other.
"""

from __future__ import annotations

from io import BytesIO
from typing import Final

import numpy as np
from PIL import Image

from cascade_core.errors import InvalidRequest

FINGERPRINT_SIDE_PX: Final = 256
"""The longest side of the thumbnail that a fingerprint is made of."""
_COLUMNS, _ROWS = 9, 8
_FLAT: Final = 1
"""A smaller or equal difference of means, of 255, is what compression makes of an even surface."""


def fingerprint_of(thumbnail: bytes) -> int:
    """Return the fingerprint of a picture, as a signed number of 64 bits.

    Args:
        thumbnail: its file of `encode_thumbnails` with the longest side `FINGERPRINT_SIDE_PX`.

    Raises:
        InvalidRequest: it is no WebP file, or damaged.
    """
    try:
        with Image.open(BytesIO(thumbnail), formats=("WEBP",)) as opened:
            grey = opened.convert("L").resize((_COLUMNS, _ROWS), Image.Resampling.BOX)
    except Exception as error:  # Pillow's readers raise many kinds on damaged files
        raise InvalidRequest("the thumbnail must be a sound WebP file", "image") from error
    means = np.asarray(grey, np.int16)
    bits = means[:, 1:] > means[:, :-1] + _FLAT
    return int.from_bytes(np.packbits(bits).tobytes(), "big", signed=True)
