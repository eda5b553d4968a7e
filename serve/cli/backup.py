"""``cascade export`` and ``cascade import``: move jobs, images and latents between services."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serve.cli.output import CliError, ExitCode, counted, note, say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from serve.maintenance.backup import BackupReport
    from serve.storage.blobs.blob_store import BlobStore
    from serve.storage.database import Database

_MB = 1_000_000


def _named(text: str) -> Path:
    """Refuse an empty path, such as that of an empty variable: it would mean `.`."""
    if not text:
        raise typer.BadParameter("name a folder or a file that ends in .tar")
    return Path(text)


def _existing(text: str) -> Path:
    path = _named(text)
    if not path.exists():
        raise typer.BadParameter(f"{text} does not exist")
    return path


To = Annotated[Path, typer.Argument(metavar="DIR|FILE.tar", help="Where to write.", parser=_named)]
From = Annotated[
    Path,
    typer.Argument(metavar="DIR|FILE.tar", help="What `cascade export` wrote.", parser=_existing),
]


def export(path: To) -> None:
    """Write all ended jobs with their images and latents into a folder or a .tar file."""
    from serve.maintenance import archive
    from serve.maintenance.backup import export_jobs

    if path.is_file() and path.suffix != ".tar":
        raise CliError(f"{path} is a file; name a folder or a file that ends in .tar")
    with _stores() as (database, blobs), archive.writing(path) as write:
        moved = asyncio.run(export_jobs(database, blobs, write))
    for key in moved.missing:
        note(f"missing from the store: {key}")
    print_report(moved, "exported")


def import_(path: From) -> None:
    """Add the jobs, images and latents of an export; existing jobs stay as they are."""
    from serve.maintenance import archive
    from serve.maintenance.backup import import_jobs, is_entry
    from serve.served_models import choose_models, open_models
    from serve.settings import load_settings

    models = open_models(choose_models(load_settings().model_sources()))
    with _stores() as (database, blobs):
        entries = archive.reading(path, is_entry)
        moved = asyncio.run(import_jobs(database, blobs, models, entries))
    for chain in sorted(moved.apart):
        note(f"audit log {chain} went another way here; its other events were left out")
    print_report(moved, "added")


@contextmanager
def _stores() -> Iterator[tuple[Database, BlobStore]]:
    from serve.local.private_files import private_files
    from serve.settings import load_settings
    from serve.storage.blobs.blob_store import BlobStore
    from serve.storage.database import Database

    settings = load_settings()
    database = Database(settings.database_url)
    try:
        with private_files():
            database.create_tables()
            yield database, BlobStore(settings.blob_url)
    except OSError as error:
        message = ": ".join(str(part) for part in (error.filename, error.strerror) if part)
        raise CliError(message, ExitCode.FAILED) from error
    finally:
        database.close()


def print_report(moved: BackupReport, verb: str) -> None:
    """Print how much was written or added, and how many jobs were here already."""
    size_mb = moved.size_bytes / _MB
    jobs, files = counted(moved.jobs, "job"), counted(moved.files, "file")
    known = ""
    if moved.known_jobs:
        were = "was" if moved.known_jobs == 1 else "were"
        known = f"; {counted(moved.known_jobs, 'job')} {were} here already"
    say(f"{verb}: {jobs}, {files}, {size_mb:,.1f} MB{known}")
