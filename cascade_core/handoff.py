"""Hand-offs from one stage to the next: arrays with their invariants, and their form as bytes."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from math import isfinite, prod
from typing import Any, ClassVar, Self, TypeGuard

import numpy as np
import numpy.typing as npt

from cascade_core import wire
from cascade_core.errors import HandoffInvalid, InvalidRequest, Unsupported
from cascade_core.geometry import Geometry
from cascade_core.request import GenerationRequest

# numpy has no bfloat16: its bits travel as uint16, and `dtype` names the type.
_STORAGE: dict[str, np.dtype[Any]] = {
    "float32": np.dtype("<f4"),
    "float16": np.dtype("<f2"),
    "bfloat16": np.dtype("<u2"),
    "int64": np.dtype("<i8"),
}
_BFLOAT16_EXPONENT = 0x7F80
_DTYPE_MESSAGE = f"dtype must be one of {', '.join(_STORAGE)}"
_MAX_DIMENSIONS = 4
_MAX_EXTENT = 65536
_MAX_SCALE = 1024
_MAX_MODEL_TEXT_CHARS = 1024


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """An array and the dtype its bits stand for.

    Attributes:
        dtype: ``float32``, ``float16``, ``bfloat16`` or ``int64``.
        array: the values; for ``bfloat16`` the raw bits as uint16.

    Raises:
        HandoffInvalid: unknown dtype, storage that does not fit it, or a value that is not finite.
    """

    dtype: str
    array: npt.NDArray[Any]

    def __post_init__(self) -> None:
        if self.dtype not in _STORAGE:
            raise HandoffInvalid(_DTYPE_MESSAGE)
        if self.array.dtype != _STORAGE[self.dtype]:
            raise HandoffInvalid(f"{self.dtype} cannot be stored as {self.array.dtype}")
        if not self.is_finite():
            raise HandoffInvalid("the tensor holds NaN or infinity")

    @property
    def shape(self) -> tuple[int, ...]:
        """The array's shape."""
        return self.array.shape

    def is_finite(self) -> bool:
        """Return True if every value is finite."""
        if self.dtype == "bfloat16":
            return not bool(((self.array & _BFLOAT16_EXPONENT) == _BFLOAT16_EXPONENT).any())
        return bool(np.isfinite(self.array).all())

    def to_body(self) -> dict[str, Any]:
        """Return dtype, shape and little-endian bytes."""
        return {"dtype": self.dtype, "shape": list(self.shape), "data": self.array.tobytes()}

    @classmethod
    def from_body(cls, body: object) -> Self:
        """Rebuild from :meth:`to_body`; the array is read-only and shares the message's bytes.

        Raises:
            HandoffInvalid: fields missing, or shape and bytes that do not fit together.
        """
        values = expect_fields(body, {"dtype", "shape", "data"})
        dtype, shape, data = values["dtype"], values["shape"], values["data"]
        if not isinstance(dtype, str) or dtype not in _STORAGE:
            raise HandoffInvalid(_DTYPE_MESSAGE)
        if not isinstance(shape, list) or not 1 <= len(shape) <= _MAX_DIMENSIONS:
            raise HandoffInvalid(f"shape must have one to {_MAX_DIMENSIONS} extents")
        if not all(_is_extent(extent) for extent in shape):
            raise HandoffInvalid(f"extents must be whole numbers between 1 and {_MAX_EXTENT}")
        storage = _STORAGE[dtype]
        if not isinstance(data, bytes) or len(data) != prod(shape) * storage.itemsize:
            raise HandoffInvalid(f"data does not fill shape {shape} of {dtype}")
        return cls(dtype, np.frombuffer(data, storage).reshape(shape))


@dataclass(frozen=True, slots=True)
class ModelRef:
    """Which weights made a latent.

    Attributes:
        id: ``demo``, a folder's name or a hub id.
        revision: the pinned commit, or the release of the embedded model.
        fingerprint: hash over the weight files; equal means interchangeable latents.

    Raises:
        HandoffInvalid: a value is not a text, or an endless one.
    """

    id: str
    revision: str
    fingerprint: str

    def __post_init__(self) -> None:
        for value in (self.id, self.revision, self.fingerprint):
            if not isinstance(value, str) or len(value) > _MAX_MODEL_TEXT_CHARS:
                raise HandoffInvalid("a model is named by three short texts")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class _Latent:
    """What all hand-offs carry besides their arrays."""

    KIND: ClassVar[str]

    latents_chw: Tensor
    geometry: Geometry
    model: ModelRef
    request: GenerationRequest

    def _check(self, name: str, height_width: tuple[int, int]) -> None:
        if self.request.n != 1:
            raise HandoffInvalid(
                f"a hand-off is of one image, its request asks for {self.request.n}"
            )
        shape = self.latents_chw.shape
        if len(shape) != 3 or shape[1:] != height_width:
            raise HandoffInvalid(
                f"{name} latent of {self.request.width}x{self.request.height} px must be "
                f"(channels, {height_width[0]}, {height_width[1]}), got {shape}"
            )

    def _head(self) -> dict[str, Any]:
        return {
            "latents_chw": self.latents_chw.to_body(),
            "geometry": asdict(self.geometry),
            "model": asdict(self.model),
            "request": self.request.to_dict(),
        }


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class StageCLatent(_Latent):
    """Stage C's result: the composition, and all that Stage B needs to go on from it.

    Attributes:
        latents_chw: (16, h, w), the final Stage C latent.
        pooled: (1, P), the prompt's pooled text embedding.
        negative_pooled: (1, P), the negative prompt's, used when Stage B guides.
        geometry: relates h and w to the image size in ``request``.
        model: the weights that made it.
        request: the request of this one image (n = 1).

    Raises:
        HandoffInvalid: a shape does not follow from the geometry and the image size, the pooled
            embeddings differ in length, or the request is not of one image.
    """

    KIND: ClassVar[str] = "stage_c_latent"

    pooled: Tensor
    negative_pooled: Tensor

    def __post_init__(self) -> None:
        size = (self.request.height, self.request.width)
        self._check("Stage C", self.geometry.stage_c_hw(*size))
        for name in ("pooled", "negative_pooled"):
            shape = getattr(self, name).shape
            if len(shape) != 2 or shape[0] != 1:
                raise HandoffInvalid(f"{name} must be (1, channels), got {shape}")
        if self.pooled.shape != self.negative_pooled.shape:
            raise HandoffInvalid("pooled and negative_pooled must have the same shape")

    def encode(self) -> bytes:
        """Return the wire form."""
        pooled = {
            "pooled": self.pooled.to_body(),
            "negative_pooled": self.negative_pooled.to_body(),
        }
        return wire.pack(self.KIND, self._head() | pooled)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Rebuild from :meth:`encode`.

        Raises:
            WireError: not a message of this kind and version.
            HandoffInvalid: well-formed, but an invariant is broken.
        """
        body = wire.unpack(cls.KIND, data)
        expect_fields(body, _HEAD | {"pooled", "negative_pooled"})
        return cls(
            **_head_from(body),
            pooled=Tensor.from_body(body["pooled"]),
            negative_pooled=Tensor.from_body(body["negative_pooled"]),
        )


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class _BareLatent(_Latent):
    """A latent that carries nothing more."""

    def encode(self) -> bytes:
        """Return the wire form."""
        return wire.pack(self.KIND, self._head())

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Rebuild from :meth:`encode`; raises like :meth:`StageCLatent.decode`."""
        body = wire.unpack(cls.KIND, data)
        expect_fields(body, _HEAD)
        return cls(**_head_from(body))


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class StageBLatent(_BareLatent):
    """Stage B's result: latents_chw (4, H/4, W/4), unscaled, ready for Stage A.

    Raises:
        HandoffInvalid: the shape does not follow from the geometry and the image size, or the
            request is not of one image.
    """

    KIND: ClassVar[str] = "stage_b_latent"

    def __post_init__(self) -> None:
        stage_c_hw = self.geometry.stage_c_hw(self.request.height, self.request.width)
        self._check("Stage B", self.geometry.stage_b_hw(stage_c_hw))


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class FlowLatent(_BareLatent):
    """A flow model's result: latents_chw (4, H/4, W/4), unscaled, ready for Stage A.

    Raises:
        HandoffInvalid: as :class:`StageBLatent`.
    """

    KIND: ClassVar[str] = "flow_latent"

    def __post_init__(self) -> None:
        cell_px = self.geometry.stage_a_factor
        self._check("flow", (self.request.height // cell_px, self.request.width // cell_px))


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class EncodedImage(_BareLatent):
    """An encoded picture: latents_chw (16, h, w) in Stage C's space, from which Stage C starts.

    Raises:
        HandoffInvalid: as :class:`StageBLatent`.
    """

    KIND: ClassVar[str] = "encoded_image"

    def __post_init__(self) -> None:
        size = (self.request.height, self.request.width)
        self._check("encoded", self.geometry.stage_c_hw(*size))


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class WuerstchenLatent(_Latent):
    """The composition of Würstchen's Stage C, from which a composition can start again.

    Stage B encodes the texts of ``request`` itself, and reads ``latents * factor - offset``.

    Attributes:
        latents_chw: (16, h, w) in the space of the noise schedule, before that scaling.
        factor: ``latent_mean`` of diffusers' WuerstchenPriorPipeline.
        offset: ``latent_std`` of the same.

    Raises:
        HandoffInvalid: the shape does not follow from the geometry and the image size, a number is
            not finite, or the request is not of one image.
    """

    KIND: ClassVar[str] = "wuerstchen_latent"

    factor: float
    offset: float

    def __post_init__(self) -> None:
        size = (self.request.height, self.request.width)
        self._check("Stage C", self.geometry.stage_c_hw(*size))
        if not all(_is_number(one) and isfinite(one) for one in (self.factor, self.offset)):
            raise HandoffInvalid("factor and offset must be finite numbers")

    def encode(self) -> bytes:
        """Return the wire form."""
        return wire.pack(self.KIND, self._head() | {"factor": self.factor, "offset": self.offset})

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Rebuild from :meth:`encode`; raises like :meth:`StageCLatent.decode`."""
        body = wire.unpack(cls.KIND, data)
        expect_fields(body, _HEAD | {"factor", "offset"})
        return cls(**_head_from(body), factor=body["factor"], offset=body["offset"])


_HEAD = {"latents_chw", "geometry", "model", "request"}


def expect_fields(body: object, names: set[str]) -> dict[str, Any]:
    """Return a decoded map with exactly these fields.

    Raises:
        HandoffInvalid: it is no map, or it has others.
    """
    if not isinstance(body, dict) or body.keys() != names:
        raise HandoffInvalid(f"expected a map of {', '.join(sorted(names))}")
    return body


def _head_from(body: dict[str, Any]) -> dict[str, Any]:
    return {
        "latents_chw": Tensor.from_body(body["latents_chw"]),
        "geometry": _geometry_from(body["geometry"]),
        "model": model_from(body["model"]),
        "request": request_from(body["request"]),
    }


def _geometry_from(body: object) -> Geometry:
    names = {field.name for field in fields(Geometry)}
    scales = expect_fields(body, names)
    if not all(_is_scale(scale) for scale in scales.values()):
        raise HandoffInvalid(f"geometry must be numbers between 1 and {_MAX_SCALE}")
    if not isinstance(scales["stage_a_factor"], int):
        raise HandoffInvalid("stage_a_factor must be a whole number")
    return Geometry(**scales)


def model_from(body: object) -> ModelRef:
    """Rebuild the origin of a latent from its fields.

    Raises:
        HandoffInvalid: it has not the fields of one.
    """
    return ModelRef(**expect_fields(body, {"id", "revision", "fingerprint"}))


def request_from(body: Any) -> GenerationRequest:
    """Rebuild the request of a hand-off.

    Raises:
        HandoffInvalid: it is no request.
    """
    try:
        return GenerationRequest.from_stored(body)
    except (InvalidRequest, Unsupported) as error:
        raise HandoffInvalid(f"its request is not usable: {error}") from error


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_scale(value: object) -> bool:
    return _is_number(value) and 1 <= value <= _MAX_SCALE


def _is_extent(value: object) -> bool:
    return isinstance(value, int) and _is_number(value) and 1 <= value <= _MAX_EXTENT
