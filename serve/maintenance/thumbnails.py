"""Makes the thumbnails of pictures that have none: of an earlier release, or of an archive."""

from __future__ import annotations

import asyncio

from cascade_core.errors import InvalidRequest, NotFound
from cascade_core.images.image_files import encode_thumbnails, read_pixels
from serve.storage.blobs.blob_keys import THUMBNAIL_SIDES_PX, image_key, thumbnail_key
from serve.storage.blobs.blob_store import BlobStore
from serve.storage.database import Database

MAX_PICTURES = 1000
"""Of one round; a picture of 1024 px takes some 60 ms of a CPU."""


async def make_missing(database: Database, blobs: BlobStore, limit: int = MAX_PICTURES) -> int:
    """Make the thumbnails of the newest pictures that have none; returns how many pictures.

    Raises:
        NotReady: the database or the blob store does not answer.
    """
    missing = await database.run(database.library.without_thumbnails, limit)
    for image_id, image_format in missing:
        size_bytes = await _make(blobs, image_id, image_format)
        await database.run(database.library.set_thumbnail_bytes, image_id, size_bytes)
    return len(missing)


async def _make(blobs: BlobStore, image_id: str, image_format: str) -> int:
    """Store a picture's thumbnails; returns their size, 0 if its file is lost or damaged."""
    try:
        data = await blobs.get(image_key(image_id, image_format))
        files = await asyncio.to_thread(_thumbnails_of, data)
    except (NotFound, InvalidRequest):  # another round would not find more
        return 0
    for side_px, file in files.items():
        await blobs.put(thumbnail_key(image_id, side_px), file)
    return sum(map(len, files.values()))


def _thumbnails_of(data: bytes) -> dict[int, bytes]:
    return encode_thumbnails(read_pixels(data), THUMBNAIL_SIDES_PX)
