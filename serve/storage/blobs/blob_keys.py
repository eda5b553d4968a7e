"""The keys of the blob store: where images, latents, previews and uploads are kept."""

from __future__ import annotations

import re
from itertools import product
from typing import get_args

from cascade_core.errors import InvalidRequest
from cascade_core.operations.fields import ImageFormat

_SAFE_PART = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,127}")
_PREVIEW_NAME = re.compile(
    r"(?P<index>\d{1,3})-(?P<stage>[a-z][a-z0-9]*)-(?P<step>\d{1,4})"
    r"(?:-(?P<redo>\d{1,4}))?\.webp"
)
_PREVIEW_END = re.compile(r"-[a-z][a-z0-9]*(?:-\d+){1,2}$")
COPY_MARK = "~"
"""Ends an image's id in the key of a copy that differs in more than its format. Ids have none."""
THUMBNAIL_SIDES_PX = (256, 512)
"""The longest sides of thumbnails."""


def latent_key(latent_id: str) -> str:
    """Return the key of a latent."""
    return f"latents/{_part('latent_id', latent_id)}.msgpack"


def upload_key(upload_id: str) -> str:
    """Return the key of an upload."""
    return f"uploads/{_part('upload_id', upload_id)}.png"


def image_key(
    image_id: str, image_format: str, *, has_metadata: bool = True, is_signed_copy: bool = False
) -> str:
    """Return the key of an image, or of its copy in another format or without metadata."""
    marks = {"bare": not has_metadata, "signed": is_signed_copy}
    ending = "".join(f"{COPY_MARK}{name}" for name, is_on in marks.items() if is_on)
    return f"images/{_part('image_id', image_id)}{ending}.{_part('format', image_format)}"


def thumbnail_key(image_id: str, side_px: int) -> str:
    """Return the key of an image's thumbnail."""
    return f"images/{_part('image_id', image_id)}{COPY_MARK}{int(side_px)}.webp"


def image_of_copy(name: str) -> str:
    """Return the image's id from the last part of its key or a copy's, without its ending."""
    return name.partition(COPY_MARK)[0]


def image_keys(image_id: str) -> list[str]:
    """Return every key under which an image and its copies may be kept."""
    forms = product(get_args(ImageFormat), (True, False), (True, False))
    return [
        *(
            image_key(image_id, name, has_metadata=has, is_signed_copy=signed)
            for name, has, signed in forms
        ),
        *(thumbnail_key(image_id, side_px) for side_px in THUMBNAIL_SIDES_PX),
    ]


def handoff_key(job_id: str, index: int, stage: str) -> str:
    """Return the key of a hand-off that an earlier release stored and a deletion must find."""
    return f"handoffs/{_part('job_id', job_id)}-{int(index)}-{_part('stage', stage)}.msgpack"


def preview_key(job_id: str, index: int, stage: str, step: int, redo: int = 0) -> str:
    """Return the key of a preview.

    ``redo`` says how often the image was composed anew before; the earlier previews stay.
    """
    parts = [_part("job_id", job_id), int(index), _part("stage", stage), int(step)]
    parts += [int(redo)] if redo else []
    return f"previews/{'-'.join(map(str, parts))}.webp"


def preview_image(name: str) -> str:
    """Return ``<job id>-<index>`` from the last part of a preview's key, without its ending."""
    return _PREVIEW_END.sub("", name)


def preview_name(job_id: str, key: str) -> str:
    """Return the last part of a preview's URL, ``<index>-<stage>-<step>.webp``, from its key.

    Before its ending it names the redo, if there was one.
    """
    return key.removeprefix(f"previews/{job_id}-")


def preview_key_from_name(job_id: str, name: str) -> str:
    """Return the key of a preview from its job and the last part of its URL.

    Raises:
        InvalidRequest: the name has another form than those of :func:`preview_name`.
    """
    match = _PREVIEW_NAME.fullmatch(name)
    if match is None:
        raise InvalidRequest("no such preview", "name")
    numbers = [int(match["step"]), int(match["redo"] or 0)]
    return preview_key(job_id, int(match["index"]), match["stage"], *numbers)


def _part(name: str, value: str) -> str:
    if not _SAFE_PART.fullmatch(value):
        raise InvalidRequest(f"{name} may only hold letters, digits, '_', '.' and '-'", name)
    return value
