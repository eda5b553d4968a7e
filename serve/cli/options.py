"""Options that several commands share."""

from __future__ import annotations

import os
import re
from math import isfinite
from pathlib import Path
from typing import Annotated, Any

import typer

from cascade_core.operations.fields import FIELDS, ImageFormat
from cascade_core.service_url import default_url
from serve.cli.output import CliError

DEFAULT_URL = ""
DEFAULT_OUT = Path("out")


def chosen_url(value: str = "") -> str:
    """Return the service's address: as given, by ``CASCADE_URL``, or that of ``cascade up``."""
    return value or os.environ.get("CASCADE_URL") or default_url(os.environ)


def _range(name: str) -> dict[str, Any]:
    """Return the lowest and the highest value of an operation's field, as Typer takes them."""
    limits = FIELDS[name].limits
    return {"min": limits["minimum"], "max": limits["maximum"]}


_SIDE = FIELDS["width"].limits
_SIZE = re.compile(r"(\d{1,5})[xX](\d{1,5})")

_URL: dict[str, Any] = {
    "envvar": "CASCADE_URL",
    "help": "Where the service answers.",
    "show_default": "where cascade up listens",
}
Url = Annotated[str, typer.Option("--url", callback=chosen_url, **_URL)]
GivenUrl = Annotated[str, typer.Option("--url", **_URL)]
"""For a command that reports a wrong default address itself: empty if none is given."""
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout and nothing else.")]
Out = Annotated[Path, typer.Option("--out", "-o", help="Folder for the pictures.")]
Local = Annotated[bool, typer.Option("--local", help="Run in this process, without a server.")]
Prompt = Annotated[
    str, typer.Argument(metavar="PROMPT", help="What the picture shows.", show_default=False)
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="ID",
        help="The model's id; without it the service's first, or the one that made the latent.",
        show_default=False,
    ),
]
Images = Annotated[int, typer.Option("--n", "-n", **_range("n"), help="How many pictures to make.")]
Format = Annotated[
    ImageFormat | None, typer.Option("--format", help="File format; png unless told otherwise.")
]
Negative = Annotated[str | None, typer.Option("--negative", help="What it should not show.")]
Side = Annotated[
    int | None,
    typer.Option(
        help=f"Pixels, a multiple of {_SIDE['multipleOf']}, at least {_SIDE['minimum']}; "
        "`cascade models` shows the maximum.",
        show_default=False,
    ),
]
Size = Annotated[
    str | None,
    typer.Option(
        metavar="WIDTHxHEIGHT",
        help="Pixels, such as 384x384, in the picture's aspect; 1.5 times its sides is what the "
        "model was trained for.",
        show_default=False,
    ),
]
Seed = Annotated[
    int | None,
    typer.Option(**_range("seed"), help="Fixes the composition; random if absent."),
]
DecoderSeed = Annotated[
    int | None,
    typer.Option(**_range("decoder_seed"), help="Fixes the details."),
]
Steps = Annotated[
    int | None,
    typer.Option("--steps", **_range("steps"), help="Denoising steps of the composition."),
]
Guidance = Annotated[
    float | None,
    typer.Option(
        "--guidance",
        **_range("guidance_scale"),
        help="Prompt strength in the composition; <= 1 is off.",
    ),
]
DecoderSteps = Annotated[
    int | None,
    typer.Option(
        "--decoder-steps", **_range("decoder_steps"), help="Denoising steps of the details."
    ),
]
DecoderGuidance = Annotated[
    float | None,
    typer.Option(
        "--decoder-guidance",
        **_range("decoder_guidance_scale"),
        help="Prompt strength in the details; <= 1 is off.",
    ),
]


def given(**values: object) -> dict[str, object]:
    """Return the values that the user named; the server fills in the others.

    Raises:
        CliError: a text has bytes that are no UTF-8.
    """
    for name, value in values.items():
        if isinstance(value, str) and not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError as error:
                raise CliError(f"{name}: this is no text in UTF-8: {value}") from error
    return {name: value for name, value in values.items() if value is not None}


def number_or_word(strength: str) -> float | str:
    """Return a strength as the service takes it, which refuses other words and numbers.

    Raises:
        CliError: it is infinite or no number at all; JSON has no form for that.
    """
    try:
        number = float(strength)
    except ValueError:
        return strength
    if not isfinite(number):
        raise CliError(f"strength must be a number from 0 to 1 or a word, got {strength}")
    return number


def sides_of(size: str) -> tuple[int, int]:
    """Return width and height in pixels of a text such as ``384x384``.

    Raises:
        CliError: it is none.
    """
    found = _SIZE.fullmatch(size)
    if found is None:
        raise CliError(f"--size must be like 384x384, got {size}")
    return int(found[1]), int(found[2])
