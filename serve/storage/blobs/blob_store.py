"""Bytes by key: a folder, S3, Google Cloud Storage or Azure, chosen by URL."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
from pathlib import Path
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError, InvalidPathError, NotFoundError
from obstore.store import LocalStore, from_url

from cascade_core.errors import Gone, NotFound, NotReady

_PARTIAL_NAME = re.compile(r"[A-Za-z0-9_.~-]+#\d+")
_PROBE_KEY = "probe"
_LIST_CHUNK = 1000
_MAX_REASON_CHARS = 300
# By default obstore retries for three minutes; requests would pile up unanswered meanwhile.
_MAX_RETRIES, _RETRY_TIMEOUT = 3, timedelta(seconds=15)


@dataclass(frozen=True, slots=True)
class BlobInfo:
    """A stored object, without its bytes."""

    key: str
    size_bytes: int
    modified_at: datetime


class BlobStore:
    """Puts, gets and deletes whole objects.

    Args:
        url: obstore URL; the folder of a ``file://`` URL is made if it is missing. Endpoint and
            credentials of a remote store come from its standard environment variables, such as
            ``AWS_*``.

    Raises:
        NotReady: the store does not answer (from every method).
    """

    def __init__(self, url: str) -> None:
        if urlsplit(url).scheme == "file":
            self._folder: Path | None = Path(unquote(urlsplit(url).path))
            try:
                self._store = LocalStore(self._folder, mkdir=True)
            except (BaseError, OSError) as error:
                raise _unreachable(error) from error
        else:
            self._folder = None
            self._store = from_url(
                url,
                retry_config={"max_retries": _MAX_RETRIES, "retry_timeout": _RETRY_TIMEOUT},
            )

    async def put(self, key: str, data: bytes) -> None:
        """Write an object; readers see the old or the new object, never a part."""
        try:
            await obstore.put_async(self._store, key, data)
        except (BaseError, OSError) as error:  # OSError: the bucket or the folder is missing
            raise _unreachable(error) from error

    async def get(self, key: str) -> bytes:
        """Read an object.

        Raises:
            NotFound: there is no object under this key.
        """
        try:
            result = await obstore.get_async(self._store, key)
            return bytes(await result.bytes_async())
        except (NotFoundError, FileNotFoundError) as error:
            raise NotFound(f"nothing is stored under {key}") from error
        except (BaseError, OSError) as error:
            raise _unreachable(error) from error

    async def get_known(self, key: str, what: str) -> bytes:
        """Read an object that the database records as stored.

        Raises:
            Gone: the object was lost; the message begins with ``what``.
        """
        try:
            return await self.get(key)
        except NotFound as error:
            raise Gone(f"{what} is recorded, but its file is missing from the store") from error

    async def list_folder(self, folder: str) -> AsyncIterator[list[BlobInfo]]:
        """Yield the objects of a folder, in chunks."""
        try:
            async for chunk in obstore.list(self._store, folder, chunk_size=_LIST_CHUNK):
                yield [BlobInfo(it["path"], it["size"], it["last_modified"]) for it in chunk]
        except (BaseError, OSError) as error:
            raise _unreachable(error) from error

    async def delete(self, key: str) -> None:
        """Remove an object; a missing object is no error."""
        try:
            await obstore.delete_async(self._store, key)
        except (NotFoundError, FileNotFoundError):
            return
        except (BaseError, OSError) as error:
            raise _unreachable(error) from error

    def delete_partial(self, folders: Iterable[str], before: datetime) -> int:
        """Delete old partial files from folders; returns how many.

        A process that is killed during a write leaves a partial file. obstore writes to
        ``<key>#<number>`` first and does not list such files. Remote stores keep none. This method
        blocks.
        """
        if self._folder is None:
            return 0
        count = 0
        for path in chain.from_iterable((self._folder / name).glob("*#*") for name in folders):
            with suppress(FileNotFoundError):  # the write has just been completed
                is_old = path.stat().st_mtime < before.timestamp()
                if is_old and _PARTIAL_NAME.fullmatch(path.name):
                    path.unlink()
                    count += 1
        return count

    async def exists(self, key: str) -> bool:
        """Return True if the store holds an object under this key."""
        try:
            await obstore.head_async(self._store, key)
        except (NotFoundError, FileNotFoundError, InvalidPathError):
            return False
        except (BaseError, OSError) as error:
            raise _unreachable(error) from error
        return True

    async def probe(self) -> None:
        """Write and read a small object, to find out early if the store does not work.

        Raises:
            NotReady: the store does not work.
        """
        await self.put(_PROBE_KEY, b"probe")
        try:
            await self.get(_PROBE_KEY)
        except NotFound as error:
            raise NotReady(
                "the blob store does not keep the objects that are written to it"
            ) from error


def _unreachable(error: Exception) -> NotReady:
    message = str(error).partition("\n\nDebug source")[0]  # the rest repeats the message
    reason = " ".join(message.split())[:_MAX_REASON_CHARS]
    return NotReady("the blob store does not answer", reason=reason)
