"""``cascade generate``."""

from __future__ import annotations

from typing import Annotated

import typer

from cascade_core.operations.registry import GENERATE, IMAGE_TO_IMAGE
from serve.cli import options
from serve.cli.options import DEFAULT_OUT, DEFAULT_URL
from serve.cli.output import CliError

Picture = Annotated[
    str | None,
    typer.Option(
        "--image",
        metavar="FILE_OR_ID",
        help="A picture to start from: a PNG, JPEG or WebP file, or the id of an upload or image.",
        show_default=False,
    ),
]
Strength = Annotated[
    str | None,
    typer.Option(
        help="With --image: how far to depart from it, 0 (not at all) to 1, subtle or strong.",
        show_default=False,
    ),
]


def generate(
    prompt: options.Prompt,
    model: options.Model = None,
    image: Picture = None,
    strength: Strength = None,
    negative: options.Negative = None,
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
    """Make pictures of a prompt, or of a prompt and a picture."""
    if strength is not None and image is None:
        raise CliError("--strength says how far to depart from a picture", remedy="add --image")
    if local and image is not None:
        raise CliError("--image needs a service", remedy="leave out --local")
    body = options.given(
        kind=GENERATE.name if image is None else IMAGE_TO_IMAGE.name,
        model=model,
        strength=None if strength is None else options.number_or_word(strength),
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
    from serve.cli.starting_picture import run_from_picture
    from serve.cli.submit import run_job

    with ServiceClient(url) as client:
        if image is None:
            run_job(client, body, out, as_json=as_json)
        else:
            run_from_picture(client, image, body, out, as_json=as_json)
