"""``cascade series``: one template and a table of values become a series of pictures."""

from __future__ import annotations

import csv
import io
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from cascade_core.errors import InvalidRequest
from cascade_core.operations.fields import MAX_VARIANTS
from cascade_core.operations.registry import SERIES
from cascade_core.operations.template import check_template, variables_of
from serve.cli import options
from serve.cli.options import DEFAULT_OUT, DEFAULT_URL
from serve.cli.output import CliError, note, say
from serve.cli.picture_files import latent_in_file

if TYPE_CHECKING:
    from serve.cli.client import ServiceClient

MAX_TABLE_CHARS: Final = 4 * 1024 * 1024
"""Of a CSV file; more than the service takes of any series."""

File = Annotated[
    Path,
    typer.Argument(
        metavar="FILE.csv",
        help="A table in UTF-8: variables in the first row, one picture in each other row.",
        show_default=False,
    ),
]
Template = Annotated[
    str, typer.Option("--template", help="The prompt, with {variables}.", show_default=False)
]
Hero = Annotated[
    str | None,
    typer.Option(
        "--hero",
        help="Whose composition to keep: an image id, a latent id, or a picture file made by this "
        "service. Without it, the picture of the first row is new and the others keep its "
        "composition.",
        show_default=False,
    ),
]
Strength = Annotated[
    str | None,
    typer.Option("--strength", help="How far from the hero: 0 to 1, subtle (default) or strong."),
]


def series(
    file: File,
    template: Template,
    model: options.Model = None,
    hero: Hero = None,
    strength: Strength = None,
    negative: options.Negative = None,
    seed: options.Seed = None,
    width: options.Side = None,
    height: options.Side = None,
    steps: options.Steps = None,
    guidance: options.Guidance = None,
    decoder_steps: options.DecoderSteps = None,
    decoder_guidance: options.DecoderGuidance = None,
    decoder_seed: options.DecoderSeed = None,
    out: options.Out = DEFAULT_OUT,
    image_format: options.Format = None,
    as_json: options.Json = False,
    url: options.Url = DEFAULT_URL,
) -> None:
    """Make one picture for each row of a table, near one composition, and a contact sheet."""
    variants = read_variants(file, template)
    drawing = options.given(
        model=model,
        negative_prompt=negative,
        seed=seed,
        width=width,
        height=height,
        steps=steps,
        guidance_scale=guidance,
        decoder_steps=decoder_steps,
        decoder_guidance_scale=decoder_guidance,
        decoder_seed=decoder_seed,
        format=image_format,
    )
    from serve.cli.client import ServiceClient
    from serve.cli.submit import make_folder

    make_folder(out)
    with ServiceClient(url) as client:
        latent_id = _latent_of(client, hero) if hero else None
        body = {"kind": SERIES.name, "template": template, "variants": variants, **drawing}
        body |= options.given(
            hero=latent_id, strength=strength and options.number_or_word(strength)
        )
        _run(client, body, out, as_json=as_json)


def read_variants(file: Path, template: str) -> list[dict[str, str]]:
    """Return the values of each row of a CSV file; columns that the template lacks are left out.

    Raises:
        CliError: the file cannot be read, has no rows or too many, or lacks a column; the template
            is wrong, or a row does not make a prompt of it.
    """
    try:
        names = variables_of(template)
        rows = csv.DictReader(io.StringIO(_text_of(file), newline=""), strict=True)
        titles = {title.strip(): title for title in rows.fieldnames or ()}
        if missing := [name for name in names if name not in titles]:
            raise CliError(f"{file} has no column {missing[0]!r}, which the template names")
        found = [
            {name: (row[titles[name]] or "").strip() for name in names}
            for row in islice(rows, MAX_VARIANTS + 1)
        ]
        if not 0 < len(found) <= MAX_VARIANTS:
            many = f"more than {MAX_VARIANTS} rows" if found else "no row"
            raise CliError(f"{file} has {many} below its titles")
        check_template(template, found)
    except InvalidRequest as error:
        raise CliError(error.message) from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise CliError(f"{file} is no CSV file in UTF-8: {error}") from error
    if unused := [title for title in titles if title not in names]:
        note(f"not in the template, left out: {', '.join(unused)}")
    return found


def _text_of(file: Path) -> str:
    try:
        with file.open(encoding="utf-8-sig", newline="") as opened:
            text = opened.read(MAX_TABLE_CHARS + 1)
    except OSError as error:
        raise CliError(f"cannot read {file}: {error.strerror}") from error
    if len(text) > MAX_TABLE_CHARS:
        raise CliError(f"{file} has more than {MAX_TABLE_CHARS} characters")
    return text


def _latent_of(client: ServiceClient, source: str) -> str:
    return latent_in_file(Path(source)) or client.latent_of_image(source) or source


def _run(client: ServiceClient, body: dict[str, Any], out: Path, *, as_json: bool) -> None:
    """Make the series, save its pictures and their contact sheet, and print the outcome."""
    from serve.cli.contact_sheet import contact_sheet
    from serve.cli.submit import finish, save_image, watch, write_whole

    job = watch(client, client.create_job(body), terminal_only=as_json)
    files = [save_image(client, job["id"], image, out) for image in job["images"]]
    sheet = out / f"{job['id']}-sheet.png"
    if files:
        rows = [body["variants"][image["index"]] for image in job["images"]]
        write_whole(sheet, contact_sheet(files, [", ".join(row.values()) for row in rows]))
        job = job | {"sheet": str(sheet)}
    finish(job, files, as_json=as_json)
    if files and not as_json:
        say(f"contact sheet {sheet}", bold=True)
