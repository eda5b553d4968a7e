"""Submits a job, follows it, saves its pictures; Ctrl-C cancels it."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from cascade_core.families.stage_info import StageInfo
from cascade_core.job_states import TERMINAL_STATES
from cascade_core.operations.registry import route_of
from serve.cli.client import ServiceClient
from serve.cli.follow import follow
from serve.cli.output import (
    CliError,
    ExitCode,
    job_failure,
    note,
    print_json,
    print_outcome,
)
from serve.cli.progress import StageProgress

_EXTENSIONS = {"image/png": "png", "image/webp": "webp", "image/jpeg": "jpg"}


def run_job(
    client: ServiceClient, body: dict[str, object], out: Path, *, as_json: bool
) -> tuple[dict[str, Any], list[Path]]:
    """Submit a job, show its progress, save its pictures and print the outcome.

    Ctrl-C cancels the job on the server.

    Returns:
        The finished job and the files, one per picture.

    Raises:
        CliError: the server refused or failed the job, or ``out`` cannot be written.
    """
    make_folder(out)
    job = watch(client, client.create_job(body), terminal_only=as_json)
    files = [save_image(client, job["id"], image, out) for image in job["images"]]
    finish(job, files, as_json=as_json)
    return job, files


def watch(
    client: ServiceClient, job: dict[str, Any], *, terminal_only: bool, cancels: bool = True
) -> dict[str, Any]:
    """Return the job once it has ended or waits.

    Ctrl-C cancels it. If it has more to lose than what runs, ``cancels`` is false, and Ctrl-C ends
    the command alone.
    """
    try:
        stages = route_of(job["kind"], _stages(client, job))
        with StageProgress(_images_to_make(job), stages, terminal_only=terminal_only) as progress:
            return follow(client, job["id"], progress)
    except KeyboardInterrupt:
        if not cancels:
            note(f"job {job['id']} goes on")
            raise
        return _cancel(client, job["id"])


def _images_to_make(job: dict[str, Any]) -> int:
    """Return how many images an open job makes now."""
    if continued := job.get("continued"):
        return len(continued["indices"])
    if redone := job.get("redone"):
        return len(redone[-1]["compositions"])
    return int(job["request"]["n"])


def finish(job: dict[str, Any], files: list[Path], *, as_json: bool) -> None:
    """Print a job that has ended.

    Raises:
        CliError: it did not succeed; pictures that were finished are printed before.
    """
    if as_json:
        print_json(job | {"files": [str(file) for file in files]})
    elif files:
        print_outcome(job, files)
    if job["state"] != "succeeded":
        raise job_failure(job)


def save_image(client: ServiceClient, job_id: str, image: dict[str, Any], out: Path) -> Path:
    """Fetch one picture and save it as ``<job id>-<index>.<extension>``."""
    picture = client.image(image["id"])
    extension = _EXTENSIONS.get(picture.media_type.partition(";")[0], "bin")
    file = out / f"{job_id}-{image['index']}.{extension}"
    write_whole(file, picture.data)
    return file


def make_folder(out: Path) -> None:
    """Make the output folder, before the job is submitted.

    Raises:
        CliError: it cannot be made or written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CliError(f"cannot make the folder {out}: {error.strerror}") from error
    if not os.access(out, os.W_OK):
        raise CliError(f"cannot write to the folder {out}", remedy="--out with another folder")


def write_whole(file: Path, data: bytes) -> None:
    """Write a file so that it is complete or absent.

    Raises:
        CliError: the disk refuses.
    """
    draft = file.with_name(f".{file.name}.part")
    try:
        draft.write_bytes(data)
        draft.replace(file)
    except OSError as error:
        with suppress(OSError):
            draft.unlink()
        raise CliError(f"cannot write {file}: {error.strerror}", ExitCode.FAILED) from error


def _stages(client: ServiceClient, job: dict[str, Any]) -> tuple[StageInfo, ...]:
    """Return the stages of a job's model; empty on an error, as the job runs without them, too."""
    try:
        return client.stages(job["request"].get("model"))  # an older service names none
    except CliError:
        return ()


def _cancel(client: ServiceClient, job_id: str) -> dict[str, Any]:
    note(f"cancelling job {job_id}")
    job = client.cancel(job_id)
    if job["state"] in TERMINAL_STATES:
        return job
    with StageProgress(1, terminal_only=True) as progress:
        return follow(client, job_id, progress)
