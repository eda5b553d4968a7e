"""``cascade generate`` and ``cascade vary``."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path
from typing import Annotated

import typer

from cascade_core.operations.registry import GENERATE, VARY_DETAILS
from serve.cli import options
from serve.cli.options import DEFAULT_OUT, DEFAULT_URL
from serve.cli.output import CliError

_PICTURE_SUFFIXES = (".png", ".webp", ".jpg", ".jpeg")

Prompt = Annotated[
    str, typer.Argument(metavar="PROMPT", help="What the picture shows.", show_default=False)
]
Source = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        help="An image id, a latent id, or a picture file made by this service.",
        show_default=False,
    ),
]
Negative = Annotated[str | None, typer.Option("--negative", help="What it should not show.")]


def generate(
    prompt: Prompt,
    negative: Negative = None,
    width: options.Side = None,
    height: options.Side = None,
    n: options.Images = 1,
    seed: options.Seed = None,
    steps: options.Steps = None,
    guidance: options.Guidance = None,
    decoder_steps: options.DecoderSteps = None,
    decoder_guidance: options.DecoderGuidance = None,
    decoder_seed: options.DecoderSeed = None,
    out: options.Out = DEFAULT_OUT,
    image_format: options.Format = None,
    local: options.Local = False,
    as_json: options.Json = False,
    url: options.Url = DEFAULT_URL,
) -> None:
    """Make pictures of a prompt."""
    body = options.given(
        kind=GENERATE.name,
        prompt=prompt,
        negative_prompt=negative,
        width=width,
        height=height,
        n=n,
        seed=seed,
        steps=steps,
        guidance_scale=guidance,
        decoder_steps=decoder_steps,
        decoder_guidance_scale=decoder_guidance,
        decoder_seed=decoder_seed,
        format=image_format,
    )
    if local:
        from serve.cli.in_process import generate_in_process

        generate_in_process(body, out, as_json=as_json)
        return
    from serve.cli.client import ServiceClient
    from serve.cli.submit import run_job

    with ServiceClient(url) as client:
        run_job(client, body, out, as_json=as_json)


def vary(
    source: Source,
    n: options.Images = 1,
    decoder_steps: options.DecoderSteps = None,
    decoder_guidance: options.DecoderGuidance = None,
    decoder_seed: options.DecoderSeed = None,
    out: options.Out = DEFAULT_OUT,
    image_format: options.Format = None,
    local: options.Local = False,
    as_json: options.Json = False,
    url: options.Url = DEFAULT_URL,
) -> None:
    """Keep a picture's composition and make new details.

    With --local, ID is a .latent file saved by generate --local, or the picture beside it.
    """
    body = options.given(
        n=n,
        decoder_steps=decoder_steps,
        decoder_guidance_scale=decoder_guidance,
        decoder_seed=decoder_seed,
        format=image_format,
    )
    if local:
        from serve.cli.in_process import vary_in_process

        vary_in_process(Path(source), body, out, as_json=as_json)
        return
    from serve.cli.client import ApiError, ServiceClient
    from serve.cli.submit import run_job

    with ServiceClient(url) as client:
        known = latent_in_file(Path(source)) or client.latent_of_image(source)
        body |= {"kind": VARY_DETAILS.name, "latent_id": known or source}
        try:
            run_job(client, body, out, as_json=as_json)
        except ApiError as error:
            if known or error.status != HTTPStatus.NOT_FOUND:
                raise
            message = f"there is no image, latent or picture file {source}"
            raise CliError(
                message, remedy="look for its id with cascade jobs and cascade jobs show ID"
            ) from error


def latent_in_file(path: Path) -> str | None:
    """Return the latent id in a picture's metadata; None if ``path`` names no picture file.

    Raises:
        CliError: it names a picture file that this service did not make.
    """
    if path.suffix.lower() not in _PICTURE_SUFFIXES:
        return None
    from cascade_core.errors import CascadeError
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
