"""Reads and writes archives of named entries; an archive is a folder or one ``.tar`` file."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from cascade_core.errors import InvalidRequest

MAX_ENTRY_BYTES = 64 * 1024 * 1024
"""The largest picture takes a quarter of it."""

Write = Callable[[str, bytes], None]


@contextmanager
def writing(path: Path) -> Iterator[Write]:
    """Open an archive for writing; yields a function that writes one entry.

    A ``.tar`` file appears only when it is complete. If a folder exists already, entries of the
    same name are replaced. Only the current user can read the archive.

    Raises:
        OSError: the archive cannot be written.
    """
    if path.suffix != ".tar":
        yield lambda name, data: _write_file(path, name, data)
        return
    with _replacing(path) as file, tarfile.open(fileobj=file, mode="w") as tar:

        def write(name: str, data: bytes) -> None:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))

        yield write


def reading(path: Path, is_wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    """Yield the names and the bytes of the wanted entries, without unpacking them to the disk.

    Entries of a folder come in the order of their names, entries of a file in the order in which
    they were written. Links are never followed.

    Args:
        path: the folder or the file.
        is_wanted: returns True for the names of entries to read.

    Raises:
        InvalidRequest: the file is damaged or not a tar archive, or a wanted entry is too large or
            not a plain file.
        OSError: the archive cannot be read.
    """
    if path.is_dir():
        yield from _in_folder(path, is_wanted)
        return
    try:
        # Only uncompressed: a few kilobytes of gzip can expand to gigabytes.
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                if member.size < 0:  # tarfile would read the same entry forever
                    raise InvalidRequest(f"{path} is not a complete tar archive")
                name = member.name.removeprefix("./")
                if is_wanted(name):
                    _check(path, name, member.size, is_plain=member.isreg() and not member.sparse)
                    stream = tar.extractfile(member)
                    yield name, stream.read() if stream else b""
    except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:
        raise InvalidRequest(f"{path} is not a complete tar archive") from error


def _in_folder(path: Path, is_wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    for file in sorted(path.rglob("*")):  # does not enter linked folders
        name = file.relative_to(path).as_posix()
        if is_wanted(name):
            found = file.lstat()
            _check(path, name, found.st_size, is_plain=file.is_file() and not file.is_symlink())
            yield name, file.read_bytes()


def _check(path: Path, name: str, size_bytes: int, *, is_plain: bool) -> None:
    if not is_plain:
        raise InvalidRequest(f"{name} in {path} is not a plain file")
    if size_bytes > MAX_ENTRY_BYTES:
        raise InvalidRequest(f"{name} in {path} has more than {MAX_ENTRY_BYTES} bytes")


def _write_file(root: Path, name: str, data: bytes) -> None:
    path = root / name
    for folder in reversed(Path(name).parents):  # the outermost is "."
        (root / folder).mkdir(mode=0o700, parents=True, exist_ok=True)
    with _replacing(path) as file:
        file.write(data)


@contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """Write a file that appears when the block succeeds; if it fails, no file is left."""
    part = path.with_name(f"{path.name}.part")
    part.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            yield file
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
