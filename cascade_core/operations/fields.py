"""The fields of a request with their limits, and the checks that hold them; no limit is elsewhere.

Every check raises :class:`InvalidRequest`, which names the field and its range.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal, Protocol, TypeGuard, get_args

from cascade_core.errors import InvalidRequest
from cascade_core.geometry import SIZE_MULTIPLE_PX

ImageFormat = Literal["png", "webp", "jpeg"]

MAX_PROMPT_CHARS = 2000
MIN_SIDE_PX, MAX_SIDE_PX = 256, 2048
MIN_IMAGES, MAX_IMAGES = 1, 8
MIN_SEED, MAX_SEED = 0, 2**32 - 1
MIN_STEPS, MAX_STEPS = 1, 100
MIN_GUIDANCE_SCALE, MAX_GUIDANCE_SCALE = 0, 20.0
MIN_STRENGTH, MAX_STRENGTH = 0, 1.0
MAX_VARIANTS = 100

_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")
# Lone surrogates have no UTF-8 form and PostgreSQL stores no NUL: the request is refused before its
# job fails on them.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
# Unicode's Cc without NUL, which no store takes, tab, line feed and carriage return.
_CONTROL = re.compile("[\x01-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


class Field(Protocol):
    """The limits of one field."""

    @property
    def limits(self) -> dict[str, Any]:
        """The limits in the words of JSON Schema, for API documents, forms and commands."""

    @property
    def json_type(self) -> str:
        """The type of its values in JSON."""

    @property
    def choices(self) -> tuple[object, ...]:
        """The values that a menu offers; empty if a client types one."""

    def check(self, name: str, value: object) -> None:
        """Raise InvalidRequest if the value is outside the limits."""


@dataclass(frozen=True, slots=True)
class Text:
    """Text of at most so many characters that every store can hold."""

    max_chars: int
    json_type: ClassVar[str] = "string"
    choices: ClassVar[tuple[object, ...]] = ()

    @property
    def limits(self) -> dict[str, Any]:
        """Its length; see :class:`Field`."""
        return {"maxLength": self.max_chars}

    def check(self, name: str, value: object) -> None:
        """Raise InvalidRequest if it is no text, too long, or cannot be stored."""
        if not isinstance(value, str):
            raise InvalidRequest(f"{name} must be text", name)
        if len(value) > self.max_chars:
            raise InvalidRequest(
                f"{name} must be at most {self.max_chars} characters, got {len(value)}", name
            )
        if _UNSTORABLE.search(value):
            raise InvalidRequest(f"{name} must not hold NUL or half a surrogate pair", name)


@dataclass(frozen=True, slots=True)
class WholeNumber:
    """A whole number from ``low`` to ``high`` that ``multiple_of`` divides."""

    low: int
    high: int
    multiple_of: int = 1
    json_type: ClassVar[str] = "integer"

    @property
    def limits(self) -> dict[str, Any]:
        """Its range; see :class:`Field`."""
        found = {"minimum": self.low, "maximum": self.high}
        return found | {"multipleOf": self.multiple_of} if self.multiple_of > 1 else found

    @property
    def choices(self) -> tuple[object, ...]:
        """Its multiples; see :class:`Field`."""
        is_coarse = self.multiple_of > 1
        return tuple(range(self.low, self.high + 1, self.multiple_of)) if is_coarse else ()

    def check(self, name: str, value: object) -> None:
        """Raise InvalidRequest if it is no such number."""
        if not _is_int(value) or not self.low <= value <= self.high:
            message = f"{name} must be a whole number between {self.low} and {self.high}"
            raise InvalidRequest(message, name)
        if value % self.multiple_of:
            message = f"{name} must be a multiple of {self.multiple_of}, got {value}"
            raise InvalidRequest(message, name)


@dataclass(frozen=True, slots=True)
class Number:
    """A number from ``low`` to ``high``."""

    low: float
    high: float
    json_type: ClassVar[str] = "number"
    choices: ClassVar[tuple[object, ...]] = ()

    @property
    def limits(self) -> dict[str, Any]:
        """Its range; see :class:`Field`."""
        return {"minimum": self.low, "maximum": self.high}

    def check(self, name: str, value: object) -> None:
        """Raise InvalidRequest if it is no such number."""
        # NaN fails every comparison, so it is out of any range.
        if not (_is_int(value) or isinstance(value, float)) or not self.low <= value <= self.high:
            message = f"{name} must be a number between {self.low:g} and {self.high:g}"
            raise InvalidRequest(message, name)


@dataclass(frozen=True, slots=True)
class OptionalNumber(Number):
    """A number from ``low`` to ``high``, or None."""

    def check(self, name: str, value: object) -> None:
        """Raise InvalidRequest if it is no such number."""
        if value is not None:
            Number(self.low, self.high).check(name, value)


@dataclass(frozen=True, slots=True)
class OneOf:
    """One of some words."""

    words: tuple[str, ...]
    json_type: ClassVar[str] = "string"

    @property
    def limits(self) -> dict[str, Any]:
        """The words; see :class:`Field`."""
        return {"enum": list(self.words)}

    @property
    def choices(self) -> tuple[object, ...]:
        """The words; see :class:`Field`."""
        return self.words

    def check(self, name: str, value: object) -> None:
        """Raise InvalidRequest if it is none of them."""
        if not isinstance(value, str) or value not in self.words:
            raise InvalidRequest(f"{name} must be one of {', '.join(self.words)}", name)


@dataclass(frozen=True, slots=True)
class OptionalId:
    """The id of a stored thing or the name of a stage, or None."""

    json_type: ClassVar[str] = "string"
    choices: ClassVar[tuple[object, ...]] = ()

    @property
    def limits(self) -> dict[str, Any]:
        """None that clients need to know; see :class:`Field`."""
        return {}

    def check(self, name: str, value: object) -> None:
        """Raise InvalidRequest if it has not the form of an id."""
        if value is not None and not (isinstance(value, str) and _ID.fullmatch(value)):
            raise InvalidRequest(f"{name} must be 1 to 64 letters, digits, '_', '.' or '-'", name)


@dataclass(frozen=True, slots=True)
class OptionalVariants:
    """One to so many maps from variables of a template to their values, or None."""

    max_variants: int
    json_type: ClassVar[str] = "array"
    choices: ClassVar[tuple[object, ...]] = ()

    @property
    def limits(self) -> dict[str, Any]:
        """Their number; see :class:`Field`."""
        return {"minItems": 1, "maxItems": self.max_variants}

    def check(self, name: str, value: object) -> None:
        """Raise InvalidRequest if they are no such maps, too many, or cannot be stored."""
        if value is None:
            return
        if not isinstance(value, list) or not 1 <= len(value) <= self.max_variants:
            raise InvalidRequest(f"{name} must be a list of 1 to {self.max_variants} maps", name)
        text = Text(MAX_PROMPT_CHARS)
        for index, values in enumerate(value):
            field = f"{name}[{index}]"
            if not isinstance(values, dict):
                raise InvalidRequest(f"{field} must be a map from variables to texts", field)
            for part in (*values, *values.values()):
                text.check(field, part)


FIELDS: Mapping[str, Field] = {
    "format": OneOf(get_args(ImageFormat)),
    "prompt": Text(MAX_PROMPT_CHARS),
    "negative_prompt": Text(MAX_PROMPT_CHARS),
    "width": WholeNumber(MIN_SIDE_PX, MAX_SIDE_PX, SIZE_MULTIPLE_PX),
    "height": WholeNumber(MIN_SIDE_PX, MAX_SIDE_PX, SIZE_MULTIPLE_PX),
    "n": WholeNumber(MIN_IMAGES, MAX_IMAGES),
    "seed": WholeNumber(MIN_SEED, MAX_SEED),
    "decoder_seed": WholeNumber(MIN_SEED, MAX_SEED),
    "steps": WholeNumber(MIN_STEPS, MAX_STEPS),
    "decoder_steps": WholeNumber(MIN_STEPS, MAX_STEPS),
    "guidance_scale": Number(MIN_GUIDANCE_SCALE, MAX_GUIDANCE_SCALE),
    "decoder_guidance_scale": Number(MIN_GUIDANCE_SCALE, MAX_GUIDANCE_SCALE),
    "latent_id": OptionalId(),
    "image": OptionalId(),
    "strength": OptionalNumber(MIN_STRENGTH, MAX_STRENGTH),
    "stop_after": OptionalId(),
    "template": Text(MAX_PROMPT_CHARS),
    "variants": OptionalVariants(MAX_VARIANTS),
    "hero": OptionalId(),
    "hero_id": OptionalId(),
}
"""Every field that an operation may let a client choose, and those that it decides itself."""

SEEDS: Final = ("seed", "decoder_seed")
"""The fields that are random if a client leaves them out."""

SIDES: Final = ("width", "height")
"""The fields whose largest value the model states."""

DETAIL_FIELDS: Final = ("decoder_seed", "decoder_steps", "decoder_guidance_scale")
"""The fields of the stage that draws details; they say nothing to a family without one."""

LATENT_FIELDS: Final = (
    "prompt",
    "negative_prompt",
    "width",
    "height",
    "seed",
    "steps",
    "guidance_scale",
)
"""The fields that determine a stored latent. Digests of stored latents depend on their order."""


def side_of_model(max_side_px: int) -> WholeNumber:
    """Return the limits of a side in pixels, for a model whose largest side this is."""
    return WholeNumber(MIN_SIDE_PX, max_side_px, SIZE_MULTIPLE_PX)


def check_side(name: str, value: object, max_side_px: int) -> None:
    """Check one side of an image in pixels against the model's largest.

    Raises:
        InvalidRequest: not a multiple of ``SIZE_MULTIPLE_PX`` between ``MIN_SIDE_PX`` and
            ``max_side_px``.
    """
    side_of_model(max_side_px).check(name, value)


def check_new_text(name: str, value: str) -> None:
    """Check a prompt that is sent now: terminal control characters describe no picture.

    Format characters stay: scripts and emoji need them, and the model has seen them. Stored
    requests are older than this rule, so ``FIELDS`` does not hold it.

    Raises:
        InvalidRequest: it holds a control character other than tab and line breaks.
    """
    if found := _CONTROL.search(value):
        code = f"U+{ord(found[0]):04X}"
        message = f"{name} must not hold control characters but tabs and line breaks, got {code}"
        raise InvalidRequest(message, name)


def check_new_prompts(given: Mapping[str, object]) -> None:
    """Check the prompts that a client sends now; each may be absent.

    Raises:
        InvalidRequest: the prompt says nothing, or one of them fails :func:`check_new_text`.
    """
    if "prompt" in given and not str(given["prompt"]).strip():
        raise InvalidRequest("prompt must say what the picture shows", "prompt")
    for name in ("prompt", "negative_prompt"):
        check_new_text(name, str(given.get(name, "")))


def random_seed() -> int:
    """Return a random seed."""
    return secrets.randbelow(MAX_SEED + 1)


def _is_int(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)
