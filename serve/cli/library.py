"""``cascade library``: find pictures."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from serve.cli import options
from serve.cli.options import DEFAULT_URL
from serve.cli.output import cell, console, local_time, note, print_json, say, table

_MAX_PAGE = 200
_SHOWN_CHARS = 60

library_app = typer.Typer(help="Find pictures.", no_args_is_help=True)

Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="WORDS",
        help='As the library takes them: red heart, \'"red heart"\', "heart -blue", hea*, '
        "kind:vary, seed:7, after:2026-01-31, star:yes, rating:>=3, tag:shoe, board:ID. "
        "All pictures if absent.",
        show_default=False,
    ),
]
Limit = Annotated[
    int, typer.Option("--limit", min=1, max=_MAX_PAGE, help="How many, newest first.")
]
All = Annotated[bool, typer.Option("--all", help="All that are found, whatever the limit.")]


@library_app.callback()
def library() -> None:
    """Find pictures."""


@library_app.command()
def search(
    words: Words = None,
    limit: Limit = 20,
    find_all: All = False,
    as_json: options.Json = False,
    url: options.Url = DEFAULT_URL,
) -> None:
    """List the pictures whose prompts have these words, newest first."""
    from serve.cli.client import ServiceClient

    text = " ".join(words or ())
    options.given(words=text)
    with ServiceClient(url) as client:
        page = client.library(text, "", _MAX_PAGE if find_all else limit)
        found, cursor = page["items"], page["next_cursor"]
        while find_all and cursor is not None:
            page = client.library(text, cursor, _MAX_PAGE)
            found, cursor = found + page["items"], page["next_cursor"]
    if as_json:
        print_json(found)
        return
    _print_table(found)
    if cursor is not None:
        note("there are more; --all lists them all")


def _print_table(found: list[dict[str, Any]]) -> None:
    if not found:
        say("no picture is found")
        return
    shown = table("id", "created", "size", "marks")
    shown.add_column("prompt", no_wrap=True, overflow="ellipsis", min_width=12)
    for picture in found:
        values = (
            picture["id"],
            local_time(picture["created_at"], "%Y-%m-%d %H:%M"),
            f"{picture['width']}x{picture['height']}",
            _marks(picture),
            picture["prompt"][:_SHOWN_CHARS],
        )
        shown.add_row(*map(cell, values))
    console().print(shown)


def _marks(picture: dict[str, Any]) -> str:
    """Return star, rating and tags in one line, as a search takes them."""
    rating = [f"rating:{picture['rating']}"] if picture.get("rating") else []
    tags = [f"tag:{tag}" for tag in picture.get("tags", ())]
    return " ".join([*(["star"] if picture.get("star") else []), *rating, *tags])
