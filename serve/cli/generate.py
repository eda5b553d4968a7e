"""``cascade generate``."""

from __future__ import annotations

from typing import Annotated

import typer

from cascade_core.operations.registry import GENERATE
from serve.cli import options
from serve.cli.options import DEFAULT_OUT, DEFAULT_URL

Prompt = Annotated[
    str, typer.Argument(metavar="PROMPT", help="What the picture shows.", show_default=False)
]


def generate(
    prompt: Prompt,
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
