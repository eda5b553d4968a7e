"""Hand-offs of named tensors, for families whose stages agree on names of tensors alone."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import ClassVar, Final, Self

from cascade_core import wire
from cascade_core.errors import HandoffInvalid
from cascade_core.families.stage_info import STAGE_NAME
from cascade_core.handoff import ModelRef, Tensor, expect_fields, model_from, request_from
from cascade_core.request import GenerationRequest

MAX_TENSORS: Final = 8
_TENSOR_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")
_FIELDS: Final = {"made_by", "tensors", "model", "request"}


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class NamedTensors:
    """What one stage of a family gives the next one.

    The message holds 16 MiB at most, see :mod:`cascade_core.wire`.

    Attributes:
        made_by: the name of the stage that made it.
        tensors: one to eight by name, such as ``latents``; the stages know their shapes.
        model: the weights that made it.
        request: the request of this one image (n = 1).

    Raises:
        HandoffInvalid: no tensor, too many, a name that is none, or the request of several images.
    """

    KIND: ClassVar[str] = "named_tensors"

    made_by: str
    tensors: Mapping[str, Tensor]
    model: ModelRef
    request: GenerationRequest

    def __post_init__(self) -> None:
        if not isinstance(self.made_by, str) or not STAGE_NAME.fullmatch(self.made_by):
            raise HandoffInvalid("made_by must be the name of a stage")
        if not 1 <= len(self.tensors) <= MAX_TENSORS:
            raise HandoffInvalid(f"a hand-off has 1 to {MAX_TENSORS} tensors")
        if not all(map(_TENSOR_NAME.fullmatch, self.tensors)):
            raise HandoffInvalid("a tensor is named by up to 32 lower-case letters, digits and _")
        if self.request.n != 1:
            raise HandoffInvalid(
                f"a hand-off is of one image, its request asks for {self.request.n}"
            )

    def tensor(self, name: str) -> Tensor:
        """Return a tensor.

        Raises:
            HandoffInvalid: there is none of this name.
        """
        if name not in self.tensors:
            raise HandoffInvalid(f"the hand-off of stage {self.made_by} has no {name}")
        return self.tensors[name]

    def encode(self) -> bytes:
        """Return the wire form.

        Raises:
            WireError: the tensors are too large for a message.
        """
        body = {
            "made_by": self.made_by,
            "tensors": {name: tensor.to_body() for name, tensor in self.tensors.items()},
            "model": asdict(self.model),
            "request": self.request.to_dict(),
        }
        return wire.pack(self.KIND, body)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Rebuild from :meth:`encode`.

        Raises:
            WireError: not a message of this kind and version.
            HandoffInvalid: well-formed, but an invariant is broken.
        """
        body = expect_fields(wire.unpack(cls.KIND, data), _FIELDS)
        tensors = body["tensors"]
        if not isinstance(tensors, dict):
            raise HandoffInvalid("tensors must be a map")
        return cls(
            made_by=body["made_by"],
            tensors={name: Tensor.from_body(tensor) for name, tensor in tensors.items()},
            model=model_from(body["model"]),
            request=request_from(body["request"]),
        )
