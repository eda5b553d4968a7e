"""An upload as it is stored: a PNG file of this service, which holds pixels and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from typing import Self

import numpy as np
from PIL import Image

from cascade_core.errors import HandoffInvalid
from cascade_core.images.pixels import Rgb
from cascade_core.images.png_info_reader import SIGNATURE
from cascade_core.images.png_writer import encode_png


@dataclass(frozen=True, slots=True, eq=False)
class StoredUpload:
    """The file of an upload; its pixels are decoded when they are needed."""

    data: bytes

    @classmethod
    def of(cls, pixels_hwc: Rgb) -> Self:
        """Encode pixels, uint8 (height, width, 3)."""
        return cls(encode_png(pixels_hwc, {}))

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Take over a stored file.

        Raises:
            HandoffInvalid: it is none.
        """
        if not data.startswith(SIGNATURE):
            raise HandoffInvalid("the stored upload is no PNG file")
        return cls(data)

    def pixels_hwc(self) -> Rgb:
        """Return the pixels, uint8 (height, width, 3).

        Raises:
            HandoffInvalid: the file is damaged.
        """
        try:
            with Image.open(BytesIO(self.data), formats=("PNG",)) as image:
                return np.asarray(image.convert("RGB"))
        except Exception as error:  # Pillow raises many kinds on damaged files
            raise HandoffInvalid("the stored upload is damaged") from error
