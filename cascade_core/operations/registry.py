"""All kinds of job by name; a new one is a module beside this one, named in each list here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal

from cascade_core.operations.decode import Decode
from cascade_core.operations.generate import Generate
from cascade_core.operations.image_to_image import ImageToImage
from cascade_core.operations.operation import Operation, StageT
from cascade_core.operations.series import Series
from cascade_core.operations.vary import Vary
from cascade_core.operations.vary_details import VaryDetails

Kind = Literal["generate", "vary_details", "vary", "decode", "series", "image_to_image"]
DEFAULT_KIND: Final[Kind] = "generate"
"""Of a request that names none."""

GENERATE: Final = Generate()
VARY_DETAILS: Final = VaryDetails()
VARY: Final = Vary()
DECODE: Final = Decode()
SERIES: Final = Series()
IMAGE_TO_IMAGE: Final = ImageToImage()

OPERATIONS: Final[Mapping[Kind, Operation]] = {
    "generate": GENERATE,
    "vary_details": VARY_DETAILS,
    "vary": VARY,
    "decode": DECODE,
    "series": SERIES,
    "image_to_image": IMAGE_TO_IMAGE,
}


def find_operation(kind: str) -> Operation | None:
    """Return a kind of job by its name; None for one that another release of the service knows."""
    return next((operation for name, operation in OPERATIONS.items() if name == kind), None)


def image_kind_of(kind: str) -> str:
    """Return the kind of job that makes an image of such a job alone; see :class:`Operation`."""
    operation = find_operation(kind)
    return operation.image_kind if operation else kind


def route_of(kind: str, stages: Sequence[StageT]) -> tuple[StageT, ...]:
    """Return the stages that a kind of job passes; all if the kind is not known here."""
    operation = find_operation(kind)
    return operation.route(stages) if operation else tuple(stages)
