"""Writes a zip archive piece by piece, with one entry in memory."""

from __future__ import annotations

import io
from datetime import datetime
from zipfile import ZIP_STORED, ZipFile, ZipInfo


class ZipStream:
    """A zip archive whose entries are stored as they are: pictures do not get smaller.

    The header of each entry has its size and checksum, so programs can unpack while they read.
    """

    def __init__(self) -> None:
        self._window = _Window()
        self._archive = _OpenZip(self._window, "w", ZIP_STORED)

    def add(self, name: str, data: bytes, at: datetime) -> bytes:
        """Add an entry; returns the next piece of the archive."""
        info = ZipInfo(name, at.timetuple()[:6])
        info.external_attr = 0o644 << 16  # else some systems unpack unreadable files
        self._archive.writestr(info, data)
        return self._window.take()

    def end(self) -> bytes:
        """Return the last piece, the list of the entries."""
        self._archive.close()
        return self._window.take()


class _OpenZip(ZipFile):
    """An archive that may be given up before its end, when its client has left."""

    def __del__(self) -> None:
        """Do nothing: the list of the entries would have no reader."""


class _Window(io.BytesIO):
    """The part of a file that was not taken yet; positions are those of the whole file."""

    def __init__(self) -> None:
        super().__init__()
        self._taken_bytes = 0

    def tell(self) -> int:
        return self._taken_bytes + super().tell()

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        return self._taken_bytes + super().seek(offset - self._taken_bytes, whence)

    def take(self) -> bytes:
        """Return what was written since, and forget it."""
        data = self.getvalue()
        self._taken_bytes += len(data)
        super().seek(0)
        self.truncate(0)
        return data
