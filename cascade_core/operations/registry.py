"""All kinds of job by name; a new one is a module beside this one and a line in each list here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from cascade_core.operations.generate import Generate
from cascade_core.operations.operation import Operation
from cascade_core.operations.vary_details import VaryDetails

Kind = Literal["generate", "vary_details"]

GENERATE: Final = Generate()
VARY_DETAILS: Final = VaryDetails()

OPERATIONS: Final[Mapping[Kind, Operation]] = {
    "generate": GENERATE,
    "vary_details": VARY_DETAILS,
}
