"""``cascade models``: shows the configured models, their files, their sizes and licences."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serve.cli import options
from serve.cli.output import CliError, ExitCode, cell, console, print_json, say, table

if TYPE_CHECKING:
    from cascade_core.checkpoints.checkpoint import Checkpoint, ModelSource

_KB, _MB = 1000, 1_000_000

Fetch = Annotated[bool, typer.Option("--fetch", help="Download a hub model's missing files.")]


def models(fetch: Fetch = False, as_json: options.Json = False) -> None:
    """Show the configured models: licence, parts, stages, size on disk; the default first.

    With --json, one model is an object, several are a list of them.
    """
    from serve.settings import load_settings

    found = [describe(_opened(source, fetch)) for source in load_settings().model_sources()]
    if as_json:
        print_json(found if len(found) > 1 else found[0])
        return
    for index, model in enumerate(found):
        if index:
            say()
        _print(model, is_default=not index)


def _opened(source: ModelSource, fetch: bool) -> Checkpoint:
    """Open a model, whose missing files are fetched only if that is asked for.

    Raises:
        CliError: it is not there.
    """
    from cascade_core.checkpoints.checkpoint import open_checkpoint
    from cascade_core.errors import ModelUnavailable

    if source.is_hub and not fetch:
        os.environ["HF_HUB_OFFLINE"] = "1"  # read when huggingface_hub is imported, which is below
    try:
        return open_checkpoint(source)
    except ModelUnavailable as error:
        is_absent = source.is_hub and not fetch and error.message.startswith("cannot fetch")
        remedy = "cascade models --fetch (about 12 GB in bf16)" if is_absent else ""
        raise CliError(error.message, ExitCode.FAILED, remedy) from error


def describe(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return the model as plain values; sizes are in bytes of the files that would be loaded."""
    defaults = checkpoint.defaults
    return {
        "id": checkpoint.id,
        "revision": checkpoint.revision,
        "fingerprint": checkpoint.fingerprint,
        "licence": checkpoint.licence,
        "terms": {"hosting": checkpoint.hosting, "commercial": checkpoint.commercial},
        "trained_on": checkpoint.trained_on or None,
        "weaknesses": list(checkpoint.weaknesses),
        "variant": checkpoint.variant,
        "width": defaults.width,
        "height": defaults.height,
        "max_side": defaults.max_side,
        "suggestions": list(defaults.suggestions),
        "components": [
            {"name": name, "path": str(folder), "size_bytes": _size_bytes(checkpoint, name)}
            for name, folder in checkpoint.components.items()
        ],
        "stages": _stages(checkpoint),
    }


def _stages(checkpoint: Checkpoint) -> list[dict[str, Any]]:
    """Return the stages with the parameters and bytes of the weights that they read."""
    from cascade_core.checkpoints.weight_sizes import stage_sizes
    from cascade_core.families.registry import FAMILIES

    family = FAMILIES[checkpoint.family]
    sizes = stage_sizes(family, checkpoint)
    return [
        {
            "name": stage.name,
            "title": stage.title,
            "parameters": sizes[stage.name].parameters if stage.name in sizes else None,
            "weight_bytes": sizes[stage.name].size_bytes if stage.name in sizes else None,
        }
        for stage in family.stages
    ]


def _size_bytes(checkpoint: Checkpoint, name: str) -> int:
    from cascade_core.errors import ModelUnavailable

    try:
        files = checkpoint.weight_files(name)
    except ModelUnavailable:  # tokenizer and schedulers have none
        files = tuple(file for file in checkpoint.component(name).iterdir() if file.is_file())
    return sum(file.stat().st_size for file in files)


def _size_text(size_bytes: int) -> str:
    if size_bytes < _MB / 10:
        return f"{size_bytes / _KB:,.1f} kB"
    return f"{size_bytes / _MB:,.1f} MB"


def _print(found: dict[str, Any], *, is_default: bool) -> None:
    say(f"model    {found['id']}  {found['revision']}")
    say(f"licence  {found['licence']}")
    terms = found["terms"]
    colour = None if set(terms.values()) == {"allowed"} else "yellow"
    say(f"         offering it to others: {terms['hosting']}", fg=colour)
    say(f"         commercial use: {terms['commercial']}", fg=colour)
    if found["trained_on"]:
        say(f"trained on {found['trained_on']}")
    for weakness in found["weaknesses"]:
        say(f"weak     {weakness}")
    say(
        f"pictures {found['width']}x{found['height']} px unless told otherwise, "
        f"sides up to {found['max_side']} px"
    )
    shown = table("part", "size", "where")
    for part in found["components"]:
        size = _size_text(part["size_bytes"])
        shown.add_row(*map(cell, (part["name"], size, part["path"])))
    console().print(shown)
    shown = table("stage", "parameters", "weights")
    for stage in found["stages"]:
        is_known = stage["parameters"] is not None
        parameters = f"{stage['parameters'] / _MB:,.2f} M" if is_known else "unknown"
        size = _size_text(stage["weight_bytes"]) if is_known else "unknown"
        shown.add_row(*map(cell, (stage["title"], parameters, size)))
    console().print(shown)
    if found["suggestions"]:
        say("try")
        named = "" if is_default else f" --model {found['id']}"
        for prompt in found["suggestions"]:
            say(f'  cascade generate "{prompt}"{named}')
