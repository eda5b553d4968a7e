"""``cascade draft``, ``redo`` and ``continue``: compositions first, then the chosen pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cascade_core.operations.registry import GENERATE
from serve.cli import options
from serve.cli.options import DEFAULT_OUT, DEFAULT_URL
from serve.cli.output import CliError, local_time, note, print_json, remarks, say

if TYPE_CHECKING:
    from serve.cli.client import ServiceClient

_STOP = "stop_after"

JobId = Annotated[str, typer.Argument(metavar="JOB", help="The draft's id.", show_default=False)]
Indices = Annotated[
    list[int],
    typer.Argument(
        metavar="NUMBER...", min=0, help="The numbers of the compositions.", show_default=False
    ),
]


def draft(
    prompt: options.Prompt,
    model: options.Model = None,
    negative: options.Negative = None,
    width: options.Side = None,
    height: options.Side = None,
    n: options.Images = 4,
    seed: options.Seed = None,
    steps: options.Steps = None,
    guidance: options.Guidance = None,
    out: options.Out = DEFAULT_OUT,
    as_json: options.Json = False,
    url: options.Url = DEFAULT_URL,
) -> None:
    """Compose pictures of a prompt and save small previews; nothing is drawn yet."""
    from serve.cli.client import ServiceClient
    from serve.cli.submit import make_folder

    body = options.given(
        kind=GENERATE.name,
        model=model,
        prompt=prompt,
        negative_prompt=negative,
        width=width,
        height=height,
        n=n,
        seed=seed,
        steps=steps,
        guidance_scale=guidance,
    )
    with ServiceClient(url) as client:
        body[_STOP] = _stop(client, model)
        make_folder(out)
        _show_sheet(client, client.create_job(body), out, as_json=as_json)


def redo(
    job_id: JobId,
    indices: Indices,
    out: options.Out = DEFAULT_OUT,
    as_json: options.Json = False,
    url: options.Url = DEFAULT_URL,
) -> None:
    """Compose pictures of a draft anew, with other seeds; the earlier previews stay."""
    from serve.cli.client import ServiceClient
    from serve.cli.submit import make_folder

    make_folder(out)
    with ServiceClient(url) as client:
        job = client.redo_job(job_id, indices)
        _show_sheet(client, job, out, as_json=as_json, cancels=False)


def continue_(
    job_id: JobId,
    indices: Indices,
    size: options.Size = None,
    decoder_steps: options.DecoderSteps = None,
    out: options.Out = DEFAULT_OUT,
    as_json: options.Json = False,
    url: options.Url = DEFAULT_URL,
) -> None:
    """Finish chosen pictures of a draft; it can be continued once."""
    from serve.cli.client import ServiceClient
    from serve.cli.submit import finish, make_folder, save_image, watch

    width, height = (None, None) if size is None else options.sides_of(size)
    body = options.given(indices=indices, decoder_steps=decoder_steps, width=width, height=height)
    make_folder(out)
    with ServiceClient(url) as client:
        job = client.continue_job(job_id, body)
        job = watch(client, job, terminal_only=as_json, cancels=False)
        files = [save_image(client, job["id"], image, out) for image in job["images"]]
    finish(job, files, as_json=as_json)


def _show_sheet(
    client: ServiceClient,
    job: dict[str, Any],
    out: Path,
    *,
    as_json: bool,
    cancels: bool = True,
) -> None:
    """Follow a draft until it waits; save its previews and say where they are."""
    from serve.cli.submit import finish, watch

    job = watch(client, job, terminal_only=as_json, cancels=cancels)
    if job["state"] != "waiting":
        finish(job, [], as_json=as_json)
        return
    files = [_save_preview(client, job, one, out) for one in job["compositions"]]
    if as_json:
        print_json(job | {"files": [str(file) for file in files]})
        return
    for composition, file in zip(job["compositions"], files, strict=True):
        say(f"{composition['index']}  {file or 'no preview'}  seed {composition['seed']}")
    for remark in remarks(job):
        note(remark)
    note(f"until {local_time(job['deadline_at'])}: cascade continue {job['id']} NUMBER...")


def _stop(client: ServiceClient, model: str | None) -> str:
    """Return the stage after which a draft waits, as the model states it.

    Raises:
        CliError: the model has none, or there is no such model.
    """
    for operation in client.operations(model):
        for field in operation.fields:
            if operation.name == GENERATE.name and field.name == _STOP and field.choices:
                return str(field.choices[0])
    raise CliError("the model there makes no drafts: no stage of it keeps its output")


def _save_preview(
    client: ServiceClient, job: dict[str, Any], composition: dict[str, Any], out: Path
) -> Path | None:
    """Save the preview of a composition as ``<job id>-<index>-draft.webp``; None: it has none.

    One that was composed anew is ``-draft-2`` and so on.
    """
    from serve.cli.submit import write_whole

    if composition["preview_url"] is None:
        return None
    index = composition["index"]
    earlier = [one for redo in job.get("redone", ()) for one in redo["compositions"]]
    count = 1 + [one["index"] for one in earlier].count(index)
    number = f"-{count}" if count > 1 else ""
    file = out / f"{job['id']}-{index}-draft{number}.webp"
    write_whole(file, client.preview(composition["preview_url"]))
    return file
