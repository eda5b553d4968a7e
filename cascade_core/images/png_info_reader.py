"""Reads the info that `cascade_core.images.image_files` wrote into a PNG, without trusting it.

Pixels are never decompressed: the file is walked chunk by chunk in bounded memory, so a small file
that unpacks to gigabytes costs no more than its own size.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

from cascade_core.errors import InvalidRequest

INFO_KEY = "cascade"
INFO_VERSION = 1
SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_CHUNKS = 4096
"""Files of this service have about 200 at most: their pixels are cut into chunks of 64 KB."""
MAX_TEXT_BYTES = 64 * 1024

_TEXT_CHUNKS = (b"tEXt", b"iTXt")
_PIECE_BYTES = 64 * 1024


def read_png_info(file: BinaryIO) -> dict[str, Any] | None:
    """Return the info in a PNG file, or None if this service did not make it.

    The values come from the file unchecked: check them before use.

    Raises:
        InvalidRequest: not a sound PNG file: its signature, a checksum, the order of its chunks or
            its end is wrong, or it has more than ``MAX_CHUNKS`` chunks.
    """
    found = None
    for name, data in _chunks(file):
        if found is None and name in _TEXT_CHUNKS:
            found = _text(name, data)
    return parse_info(found or "")


def parse_info(text: str) -> dict[str, Any] | None:
    """Return the info in a file's text, or None if it is of another program."""
    try:
        info = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return info if isinstance(info, dict) and info.get("v") == INFO_VERSION else None


def _chunks(file: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """Yield each chunk's name and, for texts that are not too long, its data."""
    if file.read(len(SIGNATURE)) != SIGNATURE:
        raise InvalidRequest("the image must be a PNG file", "image")
    for number in range(MAX_CHUNKS):
        length, name = struct.unpack(">I4s", _exactly(file, 8))
        if (number == 0) != (name == b"IHDR"):
            raise _unsound("its header is not where it should be")
        yield name, _checked_data(file, name, length)
        if name == b"IEND":
            if file.read(1):
                raise _unsound("it goes on after its end")
            return
    raise _unsound(f"it has more than {MAX_CHUNKS} chunks")


def _checked_data(file: BinaryIO, name: bytes, length: int) -> bytes:
    is_kept = name in _TEXT_CHUNKS and length <= MAX_TEXT_BYTES
    kept, checksum = bytearray(), zlib.crc32(name)
    while length:
        piece = _exactly(file, min(length, _PIECE_BYTES))
        checksum = zlib.crc32(piece, checksum)
        length -= len(piece)
        if is_kept:
            kept += piece
    if _exactly(file, 4) != checksum.to_bytes(4, "big"):
        raise _unsound("a checksum is wrong")
    return bytes(kept)


def _text(name: bytes, data: bytes) -> str | None:
    """Return the text under ``INFO_KEY``; None under another key, or if it is compressed."""
    key, _, rest = data.partition(b"\0")
    if key != INFO_KEY.encode():
        return None
    if name == b"tEXt":
        return rest.decode("latin-1")
    # iTXt: compression flag and method, language, translated key; ours are plain and have neither.
    return rest.removeprefix(b"\0\0\0\0").decode(errors="replace")


def _exactly(file: BinaryIO, size_bytes: int) -> bytes:
    data = file.read(size_bytes)
    if len(data) != size_bytes:
        raise _unsound("it is cut short")
    return data


def _unsound(reason: str) -> InvalidRequest:
    return InvalidRequest(f"the image is not a sound PNG file: {reason}", "image")
