"""``cascade compare``: models, or settings of one, side by side on the same prompts and seeds."""

from __future__ import annotations

from datetime import datetime
from itertools import chain, count
from math import isfinite
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from serve.cli import options
from serve.cli.options import DEFAULT_OUT, DEFAULT_URL
from serve.cli.output import CliError, ExitCode, print_json, say

MAX_PROMPTS: Final = 1000
MAX_FILE_CHARS: Final = 4 * 1024 * 1024
SET_SEED: Final = 0
"""Of prompts from a file, unless told otherwise: two runs then draw the same."""
_NUMBERS: Final = {
    **{name: int for name in ("steps", "decoder_steps", "width", "height")},
    **{name: float for name in ("guidance_scale", "decoder_guidance_scale")},
}
_TEXTS: Final = ("model", "negative_prompt")

Prompt = Annotated[
    str | None,
    typer.Argument(metavar="PROMPT", help="What the pictures show.", show_default=False),
]
Models = Annotated[
    str | None,
    typer.Option("--models", metavar="ID,ID", help="The models to compare.", show_default=False),
]
With = Annotated[
    list[str] | None,
    typer.Option(
        "--with",
        metavar="NAME=VALUE,…",
        help="Instead of models: the values of one entry, such as model=demo,steps=8; once for "
        "each entry.",
        show_default=False,
    ),
]
Set = Annotated[
    Path | None,
    typer.Option(
        "--set",
        metavar="FILE",
        help="Prompts, one a line; lines that begin with # are left out. A later run of the same "
        "file shows what has changed since.",
        show_default=False,
    ),
]


def compare(
    prompt: Prompt = None,
    models: Models = None,
    entries: With = None,
    prompt_set: Set = None,
    n: options.Images = 1,
    seed: options.Seed = None,
    out: options.Out = DEFAULT_OUT,
    as_json: options.Json = False,
    url: options.Url = DEFAULT_URL,
) -> None:
    """Draw prompts with several models or settings from the same seeds, and measure them.

    The pictures, a sheet of them and the figures go into a folder of their own.
    """
    prompts = _prompts(prompt, prompt_set)
    what = _what(models, entries or [])
    if prompt_set is not None and seed is None:
        seed = SET_SEED
    from serve.cli.client import ServiceClient
    from serve.cli.comparison_drift import drift_since, print_drift
    from serve.cli.comparison_run import Plan, keep, run
    from serve.cli.comparison_sheet import comparison_sheet
    from serve.cli.comparison_table import print_table
    from serve.cli.submit import make_folder, write_whole

    folder = _new_folder(out)
    make_folder(folder)
    plan = Plan(prompts=prompts, what=what, seed=seed, n=n)
    with ServiceClient(url) as client:
        result = run(client, plan, folder, is_silent=as_json)
    sheet = folder / "sheet.png"
    write_whole(sheet, comparison_sheet(result, folder))
    result["drift"] = drift_since(result, folder)
    keep(result, folder)
    if as_json:
        print_json(result | {"folder": str(folder), "sheet": str(sheet)})
    else:
        print_table(result)
        print_drift(result["drift"])
        say(f"\npictures, figures and sheet: {sheet}", bold=True)
    if failed := sum(one["state"] != "succeeded" for one in result["results"]):
        raise CliError(f"{failed} of {len(result['results'])} jobs failed", ExitCode.FAILED)


def _new_folder(out: Path) -> Path:
    """Return a folder that is not there yet, named after this moment."""
    name = f"compare-{datetime.now():%Y%m%d-%H%M%S}"
    names = chain([name], (f"{name}-{number}" for number in count(2)))
    return next(folder for each in names if not (folder := out / each).exists())


def _prompts(prompt: str | None, file: Path | None) -> list[str]:
    """Return the prompts of a comparison.

    Raises:
        CliError: none or both are given, or the file cannot be read.
    """
    if (prompt is None) == (file is None):
        raise CliError("compare needs either a PROMPT or --set FILE")
    if file is None:
        return [str(options.given(prompt=prompt)["prompt"])]
    try:
        with file.open(encoding="utf-8-sig") as opened:
            text = opened.read(MAX_FILE_CHARS + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise CliError(f"cannot read {file} as text in UTF-8: {error}") from error
    lines = [line.strip() for line in text.splitlines()]
    found = [line for line in lines if line and not line.startswith("#")]
    if not 0 < len(found) <= MAX_PROMPTS or len(text) > MAX_FILE_CHARS:
        raise CliError(f"{file} must have 1 to {MAX_PROMPTS} prompts, one a line")
    return found


def _what(models: str | None, entries: list[str]) -> dict[str, Any]:
    """Return the part of a request that says what is compared.

    Raises:
        CliError: none or both are given, or a value is of the wrong kind.
    """
    if (models is None) == (not entries):
        raise CliError(
            "compare needs either --models or --with",
            remedy="--models demo,demo-flow, or --with steps=8 --with steps=20",
        )
    if models is None:
        return {"settings": [_settings(text) for text in entries]}
    return {"models": [name.strip() for name in models.split(",") if name.strip()]}


def _settings(text: str) -> dict[str, Any]:
    """Return the values of an entry that a text such as ``model=demo,steps=8`` gives."""
    found: dict[str, Any] = {}
    for part in text.split(","):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or name not in {*_NUMBERS, *_TEXTS}:
            known = ", ".join([*_TEXTS, *_NUMBERS])
            raise CliError(f"--with: {part.strip()!r} is not NAME=VALUE with a name of {known}")
        try:
            found[name] = _NUMBERS.get(name, str)(value)
            if isinstance(found[name], float) and not isfinite(found[name]):
                raise ValueError(value)
        except ValueError as error:
            raise CliError(f"--with: {name} must be a number, got {value!r}") from error
    return found
