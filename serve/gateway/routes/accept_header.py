"""Chooses between JSON and a picture by a request's ``Accept`` header (RFC 9110, 12.5.1)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import get_args

from cascade_core.errors import NotAcceptable
from cascade_core.operations.fields import ImageFormat

MAX_RANGES = 32
"""Browsers send fewer than ten; the header of a hostile client has thousands."""
_JSON = "application/json"
_QUALITY = re.compile(r"0(?:\.\d{0,3})?|1(?:\.0{0,3})?")


@dataclass(frozen=True, slots=True)
class _MediaRange:
    """A part of the header, such as ``image/*;q=0.5``."""

    kind: str
    subtype: str
    quality: float

    def specificity(self, media_type: str) -> int:
        """Return 0 if this range does not cover a media type, else more the narrower it is."""
        if (self.kind, self.subtype) == ("*", "*"):
            return 1
        if (self.kind, "*") == (media_type.partition("/")[0], self.subtype):
            return 2
        return 3 if f"{self.kind}/{self.subtype}" == media_type else 0


def picture_format(accept: str, n: int, stored: ImageFormat) -> ImageFormat | None:
    """Return the format in which a client prefers its picture to the job's JSON; None for JSON.

    Of types with equal quality, the one that the header names more narrowly comes first, then JSON.

    Args:
        accept: the header, of which the first :data:`MAX_RANGES` types count; empty: any type.
        n: number of the pictures that the job makes at once; an answer can be one of one.
        stored: the format of the job's images.

    Raises:
        NotAcceptable: the client takes neither JSON nor what the answer could be.
    """
    ranges = list(_media_ranges(accept))
    offers: dict[str, ImageFormat | None] = {_JSON: None}
    if n == 1:
        formats: list[ImageFormat] = [stored, *get_args(ImageFormat)]
        offers |= {f"image/{name}": name for name in formats}
    best = max(offers, key=partial(_preference, ranges))
    if _preference(ranges, best)[0] > 0:
        return offers[best]
    if not any(part.kind == "image" and part.quality > 0 for part in ranges):
        return None  # nothing is offered that it takes; JSON says what happened
    if n == 0:
        raise NotAcceptable("a job with stop_after has no picture yet: accept JSON", "stop_after")
    if n > 1:
        raise NotAcceptable("one answer holds one picture: set n to 1, or accept JSON", "n")
    raise NotAcceptable("a picture comes as image/png, image/webp or image/jpeg", "Accept")


def _preference(ranges: Sequence[_MediaRange], media_type: str) -> tuple[float, int]:
    """Return the quality of a media type by the narrowest range that covers it."""
    covering = [(part.specificity(media_type), part.quality) for part in ranges]
    specificity, quality = max(covering, default=(0, 0.0))
    return (quality, specificity) if specificity else (0.0, 0)


def _media_ranges(accept: str) -> Iterator[_MediaRange]:
    """Yield the first of the header's parts; one that cannot be read is left out."""
    for part in accept.lower().split(",", MAX_RANGES)[:MAX_RANGES]:
        media_type, *parameters = (piece.strip() for piece in part.split(";"))
        kind, _, subtype = media_type.partition("/")
        given = dict(parameter.partition("=")[::2] for parameter in parameters)
        quality = given.get("q", "1")
        if kind and subtype and _QUALITY.fullmatch(quality):
            yield _MediaRange(kind, subtype, float(quality))
