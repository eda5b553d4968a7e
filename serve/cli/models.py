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
    """Show the configured models: their parts, the size on disk, the licence; the default first.

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
        "is_commercial_use_allowed": "non-commercial" not in checkpoint.licence.lower(),
        "variant": checkpoint.variant,
        "width": defaults.width,
        "height": defaults.height,
        "max_side": defaults.max_side,
        "suggestions": list(defaults.suggestions),
        "components": [
            {"name": name, "path": str(folder), "size_bytes": _size_bytes(checkpoint, name)}
            for name, folder in checkpoint.components.items()
        ],
    }


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
    if not found["is_commercial_use_allowed"]:
        say("         NOT for commercial use or a public hosted service.", fg="yellow")
    say(
        f"pictures {found['width']}x{found['height']} px unless told otherwise, "
        f"sides up to {found['max_side']} px"
    )
    shown = table("part", "size", "where")
    for part in found["components"]:
        size = _size_text(part["size_bytes"])
        shown.add_row(*map(cell, (part["name"], size, part["path"])))
    console().print(shown)
    if found["suggestions"]:
        say("try")
        named = "" if is_default else f" --model {found['id']}"
        for prompt in found["suggestions"]:
            say(f'  cascade generate "{prompt}"{named}')
