"""What a client wants, fully resolved and validated: the limits live here and nowhere else."""

from __future__ import annotations

import re
from dataclasses import MISSING, asdict, dataclass, fields, replace
from typing import Any, Literal, get_args

from cascade_core.errors import InvalidRequest, Unsupported
from cascade_core.geometry import SIZE_MULTIPLE_PX

Kind = Literal["generate", "vary_details"]
ImageFormat = Literal["png", "webp", "jpeg"]

MAX_PROMPT_CHARS = 2000
MIN_SIDE_PX, MAX_SIDE_PX = 256, 2048
MAX_IMAGES = 8
MAX_SEED = 2**32 - 1
MAX_STEPS = 100
MAX_GUIDANCE_SCALE = 20.0

_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")
# Lone surrogates have no UTF-8 form and PostgreSQL stores no NUL: better refused here than failing
# in the middle of the job.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
# Unicode's Cc without NUL, which nothing stores, tab, line feed and carriage return.
_CONTROL = re.compile("[\x01-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
# Zero-width non-joiner and joiner, and the tags of flags: invisible, but parts of words and emoji.
_JOINING = re.compile("[\u200c\u200d\U000e0020-\U000e007f]")


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationRequest:
    """One request with every value decided; image ``i`` of it uses ``seed + i``.

    Attributes:
        kind: ``generate`` runs C, B and A; ``vary_details`` starts at B from ``latent_id``.
        width, height: pixels, multiples of 128.
        n: images to make.
        seed: drives Stage C's noise.
        steps, guidance_scale: of Stage C; guidance of 1 or less is off.
        decoder_seed, decoder_steps, decoder_guidance_scale: the same for Stage B.
        latent_id: the stored Stage C latent to start from (``vary_details`` only).

    Raises:
        InvalidRequest: a value is out of range; names the field and the range.
        Unsupported: ``latent_id`` and ``kind`` do not fit together.
    """

    kind: Kind = "generate"
    prompt: str
    negative_prompt: str = ""
    width: int
    height: int
    n: int = 1
    seed: int
    steps: int = 20
    guidance_scale: float = 4.0
    decoder_seed: int
    decoder_steps: int = 10
    decoder_guidance_scale: float = 0.0
    latent_id: str | None = None
    format: ImageFormat = "png"

    def __post_init__(self) -> None:
        _check_choice("kind", self.kind, get_args(Kind))
        _check_choice("format", self.format, get_args(ImageFormat))
        _check_text("prompt", self.prompt)
        _check_text("negative_prompt", self.negative_prompt)
        for name in ("width", "height"):
            check_side(name, getattr(self, name), MAX_SIDE_PX)
        _check_int("n", self.n, 1, MAX_IMAGES)
        for name in ("seed", "decoder_seed"):
            _check_int(name, getattr(self, name), 0, MAX_SEED)
        for name in ("steps", "decoder_steps"):
            _check_int(name, getattr(self, name), 1, MAX_STEPS)
        for name in ("guidance_scale", "decoder_guidance_scale"):
            _check_float(name, getattr(self, name), 0.0, MAX_GUIDANCE_SCALE)
        if self.latent_id is not None:
            _check_id("latent_id", self.latent_id)
        if (self.latent_id is not None) != (self.kind == "vary_details"):
            message = "latent_id goes with kind vary_details, and only with it"
            raise Unsupported(message, "latent_id")

    def for_image(self, index: int) -> GenerationRequest:
        """Return the request of image ``index`` alone: n = 1 and its own seeds.

        The images of a ``vary_details`` job share their Stage C latent, so only ``decoder_seed``
        moves on.
        """
        step = index if self.kind == "generate" else 0
        return replace(
            self,
            n=1,
            seed=(self.seed + step) % (MAX_SEED + 1),
            decoder_seed=(self.decoder_seed + index) % (MAX_SEED + 1),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, body: dict[str, Any]) -> GenerationRequest:
        """Rebuild from :meth:`to_dict`.

        Raises:
            InvalidRequest: an unknown or missing field, or a value out of range.
        """
        _check_map(body)
        unknown = sorted(
            str(name)[:40] for name in body.keys() - {field.name for field in fields(cls)}
        )
        if unknown:
            raise InvalidRequest(f"unknown field {unknown[0]!r}", unknown[0])
        return cls.from_stored(body)

    @classmethod
    def from_stored(cls, body: dict[str, Any]) -> GenerationRequest:
        """Rebuild from what was stored once; fields that a later release added are left out.

        Raises:
            InvalidRequest: a missing field, or a value out of range.
        """
        _check_map(body)
        for field in fields(cls):
            if field.default is MISSING and field.name not in body:
                raise InvalidRequest(f"{field.name} is missing", field.name)
        return cls(**{field.name: body[field.name] for field in fields(cls) if field.name in body})


def _check_map(body: object) -> None:
    if not isinstance(body, dict):
        raise InvalidRequest("a request must be a map of fields")


def check_new_text(name: str, value: str) -> None:
    """Check a prompt that is sent now: what a terminal would obey is no description of a picture.

    Format characters stay: scripts and emoji need them, and the model has seen them. Requests that
    were stored before this rule are read all the same, so it is no part of them.

    Raises:
        InvalidRequest: it holds a control character other than tab and line breaks.
    """
    if found := _CONTROL.search(value):
        code = f"U+{ord(found[0]):04X}"
        message = f"{name} must not hold control characters but tabs and line breaks, got {code}"
        raise InvalidRequest(message, name)


def is_printable(text: str) -> bool:
    """Return True if a name is one line that can be seen, joiners of scripts and emoji aside."""
    visible = _JOINING.sub("", text)
    return visible.isprintable() and bool(visible or not text)


def check_side(name: str, value: object, max_side_px: int) -> None:
    """Check one side of an image in pixels.

    Raises:
        InvalidRequest: not a multiple of 128 between 256 and ``max_side_px``.
    """
    _check_int(name, value, MIN_SIDE_PX, max_side_px)
    if isinstance(value, int) and value % SIZE_MULTIPLE_PX:
        raise InvalidRequest(f"{name} must be a multiple of {SIZE_MULTIPLE_PX}, got {value}", name)


def _check_choice(name: str, value: object, allowed: tuple[str, ...]) -> None:
    if not isinstance(value, str) or value not in allowed:
        raise InvalidRequest(f"{name} must be one of {', '.join(allowed)}", name)


def _check_text(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise InvalidRequest(f"{name} must be text", name)
    if len(value) > MAX_PROMPT_CHARS:
        raise InvalidRequest(
            f"{name} must be at most {MAX_PROMPT_CHARS} characters, got {len(value)}", name
        )
    if _UNSTORABLE.search(value):
        raise InvalidRequest(f"{name} must not hold NUL or half a surrogate pair", name)


def _check_id(name: str, value: object) -> None:
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise InvalidRequest(f"{name} must be 1 to 64 letters, digits, '_', '.' or '-'", name)


def _check_int(name: str, value: object, low: int, high: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise InvalidRequest(f"{name} must be a whole number between {low} and {high}", name)


def _check_float(name: str, value: object, low: float, high: float) -> None:
    # NaN fails every comparison, so it is out of any range.
    if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
        raise InvalidRequest(f"{name} must be a number between {low:g} and {high:g}", name)
