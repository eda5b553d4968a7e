"""Converts stored pictures to other formats, thumbnails, copies without metadata; keeps them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, ParamSpec, TypeVar

from cascade_core.errors import NotFound, NotReady
from cascade_core.images.image_files import convert_image
from cascade_core.operations.fields import ImageFormat
from serve.storage.blobs.blob_keys import image_key, thumbnail_key
from serve.storage.blobs.blob_store import BlobStore
from serve.storage.records import ImageRow

THREADS = 2
MAX_CONVERSIONS = 16
"""Running and waiting conversions; a picture of 2048 px takes 0.4 s of a CPU."""

Metadata = Literal["all", "none"]
Convert = Callable[..., bytes]
"""A function like `convert_image`."""

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Variant:
    """The form of a picture.

    Attributes:
        image_format: of the file.
        metadata: whether the file holds the request and the ids.
        side_px: the longest side of a thumbnail; None: the picture's own size.
    """

    image_format: ImageFormat
    metadata: Metadata = "all"
    side_px: int | None = None

    @classmethod
    def thumbnail(cls, side_px: int) -> Variant:
        """Return the form of thumbnails with this longest side."""
        return cls("webp", "none", side_px)

    def key(self, image_id: str, *, is_signed: bool = False) -> str:
        """Return the key under which an image is stored in this form."""
        if self.side_px is not None:
            return thumbnail_key(image_id, self.side_px)
        has_metadata = self.metadata == "all"
        return image_key(
            image_id, self.image_format, has_metadata=has_metadata, is_signed_copy=is_signed
        )


class Conversions:
    """Converts pictures in its own threads, so that database calls do not wait for conversions.

    Args:
        threads: how many pictures are converted at once.
        max_conversions: how many may run or wait.
        convert: makes the copies.
        signs: the copies are signed; unsigned ones that are stored already are not used.
    """

    def __init__(
        self,
        threads: int = THREADS,
        max_conversions: int = MAX_CONVERSIONS,
        convert: Convert = convert_image,
        *,
        signs: bool = False,
    ) -> None:
        self.convert = convert
        self.signs = signs
        self._pool = ThreadPoolExecutor(threads, "convert")
        self._max_conversions = max_conversions
        self._running = 0
        self._making: dict[str, asyncio.Task[bytes]] = {}

    async def run(
        self,
        convert: Callable[Arguments, Result],
        *args: Arguments.args,
        **kwargs: Arguments.kwargs,
    ) -> Result:
        """Run one conversion; it waits for a free thread without a time limit."""
        call = asyncio.get_running_loop().run_in_executor
        self._running += 1
        try:
            return await call(self._pool, lambda: convert(*args, **kwargs))
        finally:
            self._running -= 1

    def check_room(self) -> None:
        """Check that another conversion would not have to wait for too many.

        Raises:
            NotReady: as many run and wait as may.
        """
        if self._running >= self._max_conversions:
            raise NotReady("too many pictures are being converted; try again in a moment")

    async def stored(self, blobs: BlobStore, image: ImageRow, variant: Variant) -> bytes:
        """Return a picture's bytes; a new variant is stored beside the original.

        Raises:
            NotReady: too many conversions are waiting, or the store does not answer.
            Gone: the picture's file was lost.
            ProvenanceFailed: the copy could not be signed.
        """
        original = image_key(image.id, image.format)
        if variant == Variant(image.format):
            return await blobs.get_known(original, "this image")
        key = variant.key(image.id, is_signed=self.signs)
        try:
            return await blobs.get(key)
        except NotFound:
            return await self._make_once(blobs, original, key, variant)

    def close(self) -> None:
        """Cancel the waiting conversions and accept no more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _make_once(
        self, blobs: BlobStore, original: str, key: str, variant: Variant
    ) -> bytes:
        """Await the running conversion that makes this object; without one, start it."""
        making = self._making.get(key)
        if making is None:
            if len(self._making) >= self._max_conversions:
                raise NotReady("too many pictures are being converted; try again in a moment")
            # A task of its own: other requests may await it when the first request is cancelled.
            making = asyncio.create_task(self._make(blobs, original, key, variant))
            self._making[key] = making
            making.add_done_callback(lambda _: self._making.pop(key))
        return await asyncio.shield(making)

    async def _make(self, blobs: BlobStore, original: str, key: str, variant: Variant) -> bytes:
        with suppress(NotFound):  # another task has stored it meanwhile
            return await blobs.get(key)
        data = await blobs.get_known(original, "this image")
        size = {} if variant.side_px is None else {"max_side_px": variant.side_px}
        keeps_info = variant.metadata == "all"
        made = await self.run(
            self.convert, data, variant.image_format, keeps_info=keeps_info, **size
        )
        await blobs.put(key, made)
        return made
