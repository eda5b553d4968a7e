"""An archive of named bytes: a folder, or one ``.tar`` file."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cascade_core.errors import InvalidRequest

MAX_ENTRY_BYTES = 512 * 1024 * 1024

Write = Callable[[str, bytes], None]


@contextmanager
def writing(path: Path) -> Iterator[Write]:
    """Open an archive to put entries into; one file appears only when it is complete.

    A folder may be there already: entries of the same name are replaced.

    Raises:
        OSError: it cannot be written.
    """
    if path.suffix != ".tar":
        yield lambda name, data: _write_file(path / name, data)
        return
    part = path.with_name(f"{path.name}.part")
    with tarfile.open(part, "w") as tar:

        def write(name: str, data: bytes) -> None:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))

        yield write
    part.replace(path)


def reading(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the entries' names and bytes; nothing is unpacked onto the disk.

    A folder's come in the order of their names, a file's as they were written.

    Raises:
        InvalidRequest: the file is no tar archive, is damaged, or an entry is endless.
        OSError: it cannot be read.
    """
    if path.is_dir():
        for file in sorted(path.rglob("*")):
            if file.is_file():
                yield file.relative_to(path).as_posix(), file.read_bytes()
        return
    try:
        with tarfile.open(path) as tar:
            for member in tar:
                stream = tar.extractfile(member)
                if stream is None:  # a folder or a link
                    continue
                if member.size > MAX_ENTRY_BYTES:
                    raise InvalidRequest(f"{member.name} in {path} is too large")
                yield member.name, stream.read()
    except (tarfile.TarError, EOFError) as error:
        raise InvalidRequest(f"{path} is no complete tar archive") from error


def _write_file(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
