"""Picture files that a command is given instead of an id."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from cascade_core.errors import CascadeError
from serve.cli.output import CliError

PICTURE_SUFFIXES: Final = (".png", ".webp", ".jpg", ".jpeg")


def latent_in_file(path: Path) -> str | None:
    """Return the latent id in a picture's metadata, as :func:`id_in_file`."""
    return id_in_file(path, "latent_id")


def id_in_file(path: Path, name: str) -> str | None:
    """Return an id in a picture's metadata; None if ``path`` names no picture file.

    Args:
        path: perhaps of a picture file.
        name: ``image_id`` or ``latent_id``.

    Raises:
        CliError: it names a picture file that this service did not make.
    """
    if path.suffix.lower() not in PICTURE_SUFFIXES:
        return None
    from cascade_core.images.image_files import read_info

    try:
        info = read_info(path.read_bytes())
    except OSError as error:
        raise CliError(f"cannot read {path}: {error.strerror}") from error
    except CascadeError as error:
        raise CliError(f"cannot read {path}: {error}") from error
    found = info.get(name) if info else None
    if not isinstance(found, str):
        what = name.replace("_", " ")
        raise CliError(f"{path} carries no {what}", remedy="give the image id instead")
    return found
