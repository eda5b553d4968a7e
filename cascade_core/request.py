"""What a client wants, fully resolved and validated; the limits are its operation's fields."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields, replace
from math import ceil
from typing import Any

from cascade_core.errors import InvalidRequest, Unsupported
from cascade_core.operations.fields import (
    FIELDS,
    MAX_SEED,
    MIN_IMAGES,
    ImageFormat,
    OneOf,
    WholeNumber,
)
from cascade_core.operations.operation import Operation
from cascade_core.operations.registry import DEFAULT_KIND, OPERATIONS, Kind
from cascade_core.operations.template import check_template

MAX_MODEL_CHARS = 256
_KIND = OneOf(tuple(OPERATIONS))


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationRequest:
    """One request with every value decided; image ``i`` of it uses ``seed + i``.

    Attributes:
        kind: the operation, see `cascade_core.operations.registry`.
        width, height: pixels, multiples of 128.
        n: images to make.
        seed: drives the noise of the composition.
        steps, guidance_scale: of the composition; guidance of 1 or less is off.
        decoder_seed, decoder_steps, decoder_guidance_scale: the same for the details.
        latent_id: the stored latent to start from; None for operations that start from none.
        strength: how much noise the latent gets before it is composed anew: the time of the noise
            schedule, from 0, which keeps it as it is, to 1, which keeps nothing of it; None for
            operations that do not offer it.
        stop_after: the stage after which the job waits for its client; None: it does not.
        variants: by image, the values of the variables in ``prompt``, which is a template then;
            None for operations that do not offer them.
        image: the upload, or the picture whose latent ``latent_id`` names, to start from; None for
            operations that take none.
        model: the id of the model that makes it; None in requests from before there were several.
        hero_id: the latent that image 0 makes from noise, and that the other images start from;
            None if no image starts from another one's.

    Raises:
        InvalidRequest: a value is out of range; names the field and the range.
        Unsupported: ``latent_id``, ``strength``, ``variants``, ``image`` or ``hero_id`` does not
            go with ``kind``.
    """

    kind: Kind = DEFAULT_KIND
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
    strength: float | None = None
    stop_after: str | None = None
    variants: list[dict[str, str]] | None = None
    image: str | None = None
    hero_id: str | None = None
    model: str | None = None

    def __post_init__(self) -> None:
        _KIND.check("kind", self.kind)
        _check_model(self.model)
        for name, field in _FIELDS.items():
            field.check(name, getattr(self, name))
        WholeNumber(MIN_IMAGES, self.operation.max_images).check("n", self.n)
        if (self.image is not None) != self.operation.takes_image:
            verb = "needs" if self.operation.takes_image else "takes no"
            raise Unsupported(f"kind {self.kind} {verb} image", "image")
        self._check_latent()
        offers_strength = "strength" in self.operation.fields
        if (self.strength is not None) != offers_strength:
            verb = "needs" if offers_strength else "takes no"
            raise Unsupported(f"kind {self.kind} {verb} strength", "strength")
        self._check_variants()

    @property
    def operation(self) -> Operation:
        """The kind of job that this request is."""
        return OPERATIONS[self.kind]

    @property
    def upload_id(self) -> str | None:
        """The upload that its images start from; None if they start from none."""
        return self.image if self.latent_id is None else None

    @property
    def start_time(self) -> float:
        """The time of the noise schedule at which the composition starts: 1 is noise alone."""
        return 1.0 if self.strength is None else float(self.strength)

    @property
    def composing_steps(self) -> int:
        """How many of ``steps`` run: their part below the time at which the composition starts.

        At least one, unless the latent stays as it is.
        """
        if self.start_time == 0:
            return 0
        # Rounded: 20 steps from 0.55 would be 11.000000000000002.
        return max(1, ceil(round(self.steps * self.start_time, 6)))

    def source_latent_id(self, index: int) -> str | None:
        """Return the stored latent that image ``index`` starts from; None without one."""
        if self.hero_id is None:
            return self.latent_id
        return self.hero_id if index else None

    def derived_from(self, index: int = 0) -> dict[str, Any] | None:
        """Return what image ``index`` is made from, as JSON; None if from a prompt alone."""
        latent_id = self.source_latent_id(index)
        if latent_id is None and self.upload_id is None:
            return None
        source = {
            "operation": self.operation.image_kind,
            "latent_id": latent_id,
            "strength": self.strength,
        }
        return source if self.upload_id is None else source | {"upload_id": self.upload_id}

    def for_image(self, index: int) -> GenerationRequest:
        """Return the request of image ``index`` alone: n = 1, its own seeds and values, no stop."""
        seeds = {
            name: (getattr(self, name) + index) % (MAX_SEED + 1) for name in self.operation.seeds
        }
        own: dict[str, Any] = {"latent_id": self.source_latent_id(index), "hero_id": None}
        if self.variants is not None:
            values = {field.name: getattr(self, field.name) for field in fields(self)}
            own |= self.operation.values_of_image(values, index)
        return replace(self, n=1, stop_after=None, **seeds, **own)

    def with_own_texts(self) -> Iterator[GenerationRequest]:
        """Yield the requests whose texts its images have: this one, or each image's own."""
        if self.variants is None:
            yield self
            return
        for index in range(self.n):
            yield self.for_image(index)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able values."""
        values = {name: getattr(self, name) for name in _NAMES}
        if self.variants is not None:
            values["variants"] = [dict(variant) for variant in self.variants]
        return values

    @classmethod
    def from_dict(cls, body: dict[str, Any]) -> GenerationRequest:
        """Rebuild from :meth:`to_dict`.

        Raises:
            InvalidRequest: an unknown or missing field, a value out of range, or a variant that
                makes no prompt of the template.
        """
        _check_map(body)
        unknown = sorted(
            str(name)[:40] for name in body.keys() - {field.name for field in fields(cls)}
        )
        if unknown:
            raise InvalidRequest(f"unknown field {unknown[0]!r}", unknown[0])
        request = cls.from_stored(body)
        if request.variants is not None:
            check_template(request.prompt, request.variants)
        return request

    @classmethod
    def from_stored(cls, body: dict[str, Any]) -> GenerationRequest:
        """Rebuild from what was stored once; fields that a later release added are left out.

        The template of a series is not filled again: a list of jobs would fill it for each image.

        Raises:
            InvalidRequest: a missing field, or a value out of range.
        """
        _check_map(body)
        for field in fields(cls):
            if field.default is MISSING and field.name not in body:
                raise InvalidRequest(f"{field.name} is missing", field.name)
        return cls(**{field.name: body[field.name] for field in fields(cls) if field.name in body})

    def _check_latent(self) -> None:
        if self.hero_id is not None and ("hero" not in self.operation.fields or self.latent_id):
            raise Unsupported(f"kind {self.kind} takes no hero_id here", "hero_id")
        if self.operation.takes_image:  # an upload has no latent yet
            return
        has_latent = self.latent_id is not None or self.hero_id is not None
        if has_latent != self.operation.starts_from_latent:
            verb = "needs" if self.operation.starts_from_latent else "takes no"
            raise Unsupported(f"kind {self.kind} {verb} latent_id", "latent_id")

    def _check_variants(self) -> None:
        offers_variants = "variants" in self.operation.fields
        if (self.variants is not None) != offers_variants:
            verb = "needs" if offers_variants else "takes no"
            raise Unsupported(f"kind {self.kind} {verb} variants", "variants")
        if self.variants is None:
            return
        if self.n != len(self.variants):
            message = f"n must be the number of variants, {len(self.variants)}, got {self.n}"
            raise InvalidRequest(message, "n")


_NAMES = tuple(field.name for field in fields(GenerationRequest))
_FIELDS = {
    field.name: FIELDS[field.name]
    for field in fields(GenerationRequest)
    if field.name in FIELDS and field.name != "n"  # the operation limits n
}


def _check_model(model: object) -> None:
    is_id = isinstance(model, str) and 0 < len(model) <= MAX_MODEL_CHARS
    if model is not None and not is_id:
        message = f"model must be the id of a model, at most {MAX_MODEL_CHARS} characters"
        raise InvalidRequest(message, "model")


def _check_map(body: object) -> None:
    if not isinstance(body, dict):
        raise InvalidRequest("a request must be a map of fields")
