"""Picture files that a command is given instead of an id."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from cascade_core.errors import CascadeError
from serve.cli.output import CliError

PICTURE_SUFFIXES: Final = (".png", ".webp", ".jpg", ".jpeg")


def latent_in_file(path: Path) -> str | None:
    """Return the latent id in a picture's metadata; None if ``path`` names no picture file.

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
    latent_id = info.get("latent_id") if info else None
    if not isinstance(latent_id, str):
        raise CliError(f"{path} carries no latent id", remedy="give the image id instead")
    return latent_id
