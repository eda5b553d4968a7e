"""``cascade assets export``: pictures in the forms that channels take, in one zip archive."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any
from zipfile import BadZipFile, ZipFile

import typer

from serve.cli import options
from serve.cli.asset_tables import print_presets
from serve.cli.options import DEFAULT_URL
from serve.cli.output import CliError, ExitCode, counted, note, print_json, say
from serve.cli.picture_files import id_in_file

_MB = 1_000_000

Pictures = Annotated[
    list[str] | None,
    typer.Argument(metavar="ID|FILE", help="Image ids, or picture files.", show_default=False),
]
Words = Annotated[
    str | None,
    typer.Option("--search", metavar="WORDS", help="Instead: those that the library finds."),
]
PresetNames = Annotated[
    list[str] | None,
    typer.Option("--preset", metavar="NAME", help="A form; several times for several."),
]
Originals = Annotated[
    bool, typer.Option("--originals", help="The stored files, too; always, without presets.")
]
NameTemplate = Annotated[
    str | None,
    typer.Option("--name", help="Of the files, such as {preset}/{number}-{seed}."),
]
To = Annotated[Path, typer.Option("--out", "-o", metavar="FILE.zip", help="Where to write.")]
ListPresets = Annotated[bool, typer.Option("--list-presets", help="List the forms, and end.")]


def export(
    pictures: Pictures = None,
    search: Words = None,
    preset: PresetNames = None,
    originals: Originals = False,
    name: NameTemplate = None,
    out: To = Path("export.zip"),
    list_presets: ListPresets = False,
    as_json: options.Json = False,
    url: options.Url = DEFAULT_URL,
) -> None:
    """Export pictures in the forms that channels take, with a manifest of what they are."""
    from serve.cli.asset_client import AssetClient

    with AssetClient(url) as client:
        if list_presets:
            known = client.export_presets()
            print_json(known) if as_json else print_presets(known)
            return
        ids = [id_in_file(Path(one), "image_id") or one for one in pictures or ()]
        body = options.given(ids=ids or None, q=search, name=name)
        body |= {"presets": preset or [], "originals": originals}
        written = _write(out, client.export(body))
    _report(out, written, as_json=as_json)


def _write(out: Path, pieces: Any) -> int:
    """Write a file, whole or not at all; returns its size in bytes.

    Raises:
        CliError: it cannot be written, or the archive ended early.
    """
    unfinished = out.with_name(f"{out.name}.part")
    try:
        with unfinished.open("wb") as file:
            written = sum(file.write(piece) for piece in pieces)
        unfinished.replace(out)
    except OSError as error:
        raise CliError(f"cannot write {out}: {error.strerror}", ExitCode.FAILED) from error
    finally:
        unfinished.unlink(missing_ok=True)
    return written


def _report(out: Path, written_bytes: int, *, as_json: bool) -> None:
    """Print what is in the archive.

    Raises:
        CliError: it is not whole, or some pictures could not be exported.
    """
    try:
        with ZipFile(out) as archive:
            files = json.loads(archive.read("manifest.json"))["files"]
    except (BadZipFile, KeyError) as error:
        raise CliError(f"{out} is not whole", ExitCode.FAILED, "again later") from error
    if as_json:
        print_json(files)
    failed = [one for one in files if one["file"] is None]
    for one in failed:
        note(f"{one['image_id']}: {one['error']['message']}")
    for one in files:
        for warning in one.get("warnings", ()):
            note(f"{one['file']}: {warning}")
    made = counted(len(files) - len(failed), "file")
    if not as_json:
        say(f"{out}: {made}, {written_bytes / _MB:,.1f} MB")
    if failed:
        left = counted(len(failed), "file")
        raise CliError(f"{left} could not be exported", ExitCode.FAILED)
