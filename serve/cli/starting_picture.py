"""``cascade generate --image``: pictures that start from a file, an upload or an image."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path
from typing import Any

from cascade_core.http_client import is_id
from cascade_core.images.upload_limits import MAX_UPLOAD_BYTES, UPLOAD_FORMATS
from serve.cli.client import ApiError, ServiceClient
from serve.cli.offers import check_offered
from serve.cli.output import CliError
from serve.cli.picture_files import PICTURE_SUFFIXES
from serve.cli.submit import make_folder, run_job

_MIB = 1024 * 1024
_REMEDY = f"name a {', '.join(UPLOAD_FORMATS)} file, or the id of an upload or image"


def run_from_picture(
    client: ServiceClient, given: str, body: dict[str, Any], out: Path, *, as_json: bool
) -> None:
    """Run a job that starts from a picture; a file is uploaded first.

    Args:
        client: of the service.
        given: a file, or the id of an upload or an image.
        body: of the job, without the picture.
        out: the folder for the pictures.
        as_json: print JSON on stdout and nothing else.

    Raises:
        CliError: the model cannot start from a picture, the file cannot be read or is none, or
            what :func:`serve.cli.submit.run_job` raises.
    """
    path, model = Path(given), body.get("model")
    is_file = not is_id(given) or path.suffix.lower() in PICTURE_SUFFIXES or path.exists()
    offered = client.operations(model) if is_file else client.operations_on_latent(model)
    check_offered(offered, body)
    if is_file and not client.takes_uploads(model):
        message = "this model has no encoder and cannot start from a picture file"
        raise CliError(message, remedy="name the id of an image of the service")
    make_folder(out)
    image_id = _upload(client, path) if is_file else given
    try:
        run_job(client, body | {"image": image_id}, out, as_json=as_json)
    except ApiError as error:
        if is_file or error.status != HTTPStatus.NOT_FOUND:
            raise
        message = f"there is no upload, image or picture file {given}"
        raise CliError(message, remedy=_REMEDY) from error


def _upload(client: ServiceClient, path: Path) -> str:
    data = read_picture(path)
    try:
        return client.upload(path.name, data)
    except ApiError as error:
        if error.status != HTTPStatus.BAD_REQUEST:
            raise
        raise CliError(f"{path}: {error.message}", error.exit_code, error.remedy) from error


def read_picture(path: Path) -> bytes:
    """Return a file's bytes.

    Raises:
        CliError: it cannot be read, or is larger than the service takes.
    """
    try:
        size_bytes = path.stat().st_size
        if size_bytes > MAX_UPLOAD_BYTES:
            most = f"at most {MAX_UPLOAD_BYTES // _MIB} MiB"
            raise CliError(f"{path} has {size_bytes / _MIB:.1f} MiB; a picture may have {most}")
        return path.read_bytes()
    except OSError as error:
        raise CliError(f"cannot read {path}: {error.strerror}", remedy=_REMEDY) from error
