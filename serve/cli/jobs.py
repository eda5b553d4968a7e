"""``cascade jobs``: list, show and cancel."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cascade_core.job_states import JobState
from serve.cli import options
from serve.cli.options import DEFAULT_URL
from serve.cli.output import (
    cell,
    console,
    local_time,
    model_seconds,
    print_json,
    prompt_of,
    remarks,
    say,
    seconds_per_stage,
    table,
)

_SHOWN_CHARS = 60

jobs_app = typer.Typer(help="List, show and cancel jobs.", invoke_without_command=True)


StateFilter = Annotated[JobState | None, typer.Option("--state", help="Only jobs in this state.")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=200, help="How many, newest first.")]
JobId = Annotated[str, typer.Argument(metavar="ID", help="The job's id.", show_default=False)]


@jobs_app.callback()
def list_jobs(
    context: typer.Context,
    state: StateFilter = None,
    limit: Limit = 20,
    as_json: options.Json = False,
    url: options.Url = DEFAULT_URL,
) -> None:
    """List the newest jobs."""
    if context.invoked_subcommand is not None:
        return
    from serve.cli.client import ServiceClient

    with ServiceClient(url) as client:
        found = client.jobs(state, limit)
    if as_json:
        print_json(found)
    else:
        _print_table(found, state)


@jobs_app.command()
def show(job_id: JobId, as_json: options.Json = False, url: options.Url = DEFAULT_URL) -> None:
    """Show one job."""
    from serve.cli.client import ServiceClient

    with ServiceClient(url) as client:
        job = client.job(job_id)
    if as_json:
        print_json(job)
    else:
        _print_job(job)


@jobs_app.command()
def cancel(job_id: JobId, as_json: options.Json = False, url: options.Url = DEFAULT_URL) -> None:
    """Cancel a job; its replica is free within two steps."""
    from serve.cli.client import ServiceClient

    with ServiceClient(url) as client:
        job = client.cancel(job_id)
    if as_json:
        print_json(job)
    else:
        say(f"job {job_id} is {job['state']}")


def _print_table(found: list[dict[str, Any]], state: JobState | None) -> None:
    if not found:
        empty = 'no jobs yet; try: cascade generate "a red circle"'
        say(f"no job is {state}" if state else empty)
        return
    shown = table("id", "state", "created", "images", "seconds")
    shown.add_column("prompt", no_wrap=True, overflow="ellipsis", min_width=12)
    for job in found:
        place = _place(job)
        values = (
            job["id"],
            f"{job['state']}, {place}" if place else job["state"],
            local_time(job["created_at"], "%Y-%m-%d %H:%M"),
            f"{len(job['images'])}/{job['request']['n']}",
            f"{model_seconds(job):.1f}",
            prompt_of(job)[:_SHOWN_CHARS],
        )
        shown.add_row(*map(cell, values))
    console().print(shown)


def _print_job(job: dict[str, Any]) -> None:
    request = job["request"]
    place = _place(job)
    finished = local_time(job["finished_at"]) if job["finished_at"] else "not yet"
    say(f"job {job['id']}: {job['state']}{', ' + place if place else ''}")
    say(f"  {job['kind']}: {request['prompt']}")
    say(f"  created {local_time(job['created_at'])}, finished {finished}")
    if job["state"] == "waiting":
        say(f"  waits until {local_time(job['deadline_at'])} to be continued")
    if job.get("error"):
        say(f"  {job['error'].get('message')} ({job['error'].get('code')})")
    for image in job["images"]:
        say(f"  image {image['id']}  {_sources(image)}")
    finished_indices = {image["index"] for image in job["images"]}
    for composition in job.get("compositions", ()):
        if composition["index"] not in finished_indices:
            say(f"  composition {composition['index']}  {_sources(composition)}")
    for remark in remarks(job):
        say(f"  {remark}")
    say(f"  {seconds_per_stage(job)}")


def _sources(image: dict[str, Any]) -> str:
    return (
        f"latent {image['latent_id']}  seed {image['seed']}  decoder seed {image['decoder_seed']}"
    )


def _place(job: dict[str, Any]) -> str:
    if job["state"] == "queued" and job.get("position"):
        return f"{job['position']} ahead"
    progress = job.get("progress")
    if job.get("stage") and progress:
        return f"{str(job['stage']).upper()} {progress['step']}/{progress['steps']}"
    return ""
