"""``cascade vary`` and ``cascade decode``: pictures from the latent of an earlier one."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any

import typer

from cascade_core.operations.registry import DECODE, VARY, VARY_DETAILS
from serve.cli import options
from serve.cli.options import DEFAULT_OUT, DEFAULT_URL
from serve.cli.output import CliError
from serve.cli.picture_files import latent_in_file

Source = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        help="An image id, a latent id, or a picture file made by this service.",
        show_default=False,
    ),
]
Strength = Annotated[
    str | None,
    typer.Option(
        help="How far the composition departs: subtle, strong, or 0 (not at all) to 1. Without it, "
        "a prompt or a value of the composition, only the details are new.",
        show_default=False,
    ),
]
NewPrompt = Annotated[
    str | None,
    typer.Option("--prompt", help="What it shows instead: a remix.", show_default=False),
]


def vary(
    source: Source,
    model: options.Model = None,
    strength: Strength = None,
    prompt: NewPrompt = None,
    negative: options.Negative = None,
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
    """Vary a picture: its composition by --strength, or only its details.

    With --local, ID is a .latent file saved by generate --local, or the picture beside it.
    """
    composed = options.given(
        strength=None if strength is None else options.number_or_word(strength),
        prompt=prompt,
        negative_prompt=negative,
        seed=seed,
        steps=steps,
        guidance_scale=guidance,
    )
    body = options.given(
        kind=VARY.name if composed else VARY_DETAILS.name,
        model=model,
        n=n,
        decoder_steps=decoder_steps,
        decoder_guidance_scale=decoder_guidance,
        decoder_seed=decoder_seed,
        format=image_format,
    )
    _run(source, body | composed, out, local=local, as_json=as_json, url=url)


def decode(
    source: Source,
    model: options.Model = None,
    size: options.Size = None,
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
    """Draw a picture's composition again, larger or finer.

    With --local, ID is a .latent file saved by generate --local, or the picture beside it.
    """
    width, height = (None, None) if size is None else options.sides_of(size)
    body = options.given(
        kind=DECODE.name,
        model=model,
        width=width,
        height=height,
        n=n,
        decoder_steps=decoder_steps,
        decoder_guidance_scale=decoder_guidance,
        decoder_seed=decoder_seed,
        format=image_format,
    )
    _run(source, body, out, local=local, as_json=as_json, url=url)


def _run(
    source: str, body: dict[str, Any], out: Path, *, local: bool, as_json: bool, url: str
) -> None:
    """Make pictures from a latent, in this process or by a service."""
    if local:
        from serve.cli.in_process import vary_in_process

        vary_in_process(Path(source), body, out, as_json=as_json)
        return
    from serve.cli.client import ApiError, ServiceClient
    from serve.cli.offers import check_offered
    from serve.cli.submit import run_job

    with ServiceClient(url) as client:
        known = latent_in_file(Path(source)) or client.latent_of_image(source)
        check_offered(client.operations_on_latent(body.get("model")), body)
        try:
            run_job(client, body | {"latent_id": known or source}, out, as_json=as_json)
        except ApiError as error:
            if known or error.status != HTTPStatus.NOT_FOUND:
                raise
            message = f"there is no image, latent or picture file {source}"
            raise CliError(
                message, remedy="look for its id with cascade jobs and cascade jobs show ID"
            ) from error
