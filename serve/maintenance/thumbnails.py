"""Makes thumbnails and fingerprints of pictures without: of an earlier release, or an archive."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from cascade_core.errors import InvalidRequest, NotFound
from cascade_core.images.fingerprint import FINGERPRINT_SIDE_PX, fingerprint_of
from cascade_core.images.image_files import encode_thumbnails, read_pixels
from serve.storage.blobs.blob_keys import THUMBNAIL_SIDES_PX, image_key, thumbnail_key
from serve.storage.blobs.blob_store import BlobStore
from serve.storage.database import Database
from serve.storage.library.entries import SmallFiles

MAX_PICTURES = 1000
"""Of one round; a picture of 1024 px takes some 60 ms of a CPU."""


async def make_missing(database: Database, blobs: BlobStore, limit: int = MAX_PICTURES) -> int:
    """Make what the newest pictures lack of thumbnails and fingerprints; returns how many lacked.

    Raises:
        NotReady: the database or the blob store does not answer.
    """
    missing = await database.run(database.library.without_small_files, limit)
    for image_id, image_format in missing:
        try:
            small = await _stored(blobs, image_id)
        except (NotFound, InvalidRequest):
            small = await _make(blobs, image_id, image_format)
        await database.run(database.library.set_small_files, image_id, small)
    return len(missing)


async def _stored(blobs: BlobStore, image_id: str) -> SmallFiles:
    """Return what is known of thumbnails that are stored; raises if they are not, or damaged."""
    keys = {side_px: thumbnail_key(image_id, side_px) for side_px in THUMBNAIL_SIDES_PX}
    return await _known_of({side_px: await blobs.get(key) for side_px, key in keys.items()})


async def _make(blobs: BlobStore, image_id: str, image_format: str) -> SmallFiles:
    """Store a picture's thumbnails; there are none if its file is lost or damaged."""
    try:
        data = await blobs.get(image_key(image_id, image_format))
        files = await asyncio.to_thread(_thumbnails_of, data)
    except (NotFound, InvalidRequest):  # another round would not find more
        return SmallFiles(0)
    for side_px, file in files.items():
        await blobs.put(thumbnail_key(image_id, side_px), file)
    return await _known_of(files)


async def _known_of(files: Mapping[int, bytes]) -> SmallFiles:
    fingerprint = await asyncio.to_thread(fingerprint_of, files[FINGERPRINT_SIDE_PX])
    return SmallFiles(sum(map(len, files.values())), fingerprint)


def _thumbnails_of(data: bytes) -> dict[int, bytes]:
    return encode_thumbnails(read_pixels(data), THUMBNAIL_SIDES_PX)
