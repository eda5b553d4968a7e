"""``cascade assets``: from pictures to approved ones."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from serve.cli import options
from serve.cli.asset_export import export
from serve.cli.asset_tables import print_asset, print_assets, print_history
from serve.cli.options import DEFAULT_URL
from serve.cli.output import CliError, ExitCode, counted, fail, note, print_json, say
from serve.cli.picture_files import id_in_file
from serve.storage.schema.asset_states import ACTIONS, AssetAction, AssetState

_MAX_PAGE = 200
_POINT = re.compile(r"(0|1|0?\.\d+|1\.0+),(0|1|0?\.\d+|1\.0+)")

assets_app = typer.Typer(
    help="List, submit, review and publish pictures.", invoke_without_command=True
)

State = Annotated[AssetState | None, typer.Option("--state", help="Only those in this state.")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=_MAX_PAGE, help="How many.")]
All = Annotated[bool, typer.Option("--all", help="All of them, whatever the limit.")]
Picture = Annotated[
    str,
    typer.Argument(metavar="ID|FILE", help="An image id, or a picture file.", show_default=False),
]
Pictures = Annotated[
    list[str],
    typer.Argument(metavar="ID|FILE", help="Image ids, or picture files.", show_default=False),
]
Note = Annotated[str, typer.Option("--note", help="Why.")]
Version = Annotated[
    int | None,
    typer.Option(
        "--expected-version",
        min=0,
        help="Fail if the asset has another one now.",
        show_default=False,
    ),
]
Text = Annotated[str, typer.Argument(metavar="TEXT", help="The comment.", show_default=False)]
At = Annotated[
    str,
    typer.Option(
        metavar="X,Y",
        help="The place it points at, from 0,0 at the top left to 1,1.",
        show_default=False,
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


@assets_app.callback()
def list_assets(
    context: typer.Context,
    state: State = None,
    limit: Limit = 20,
    find_all: All = False,
    as_json: options.Json = False,
    url: options.Url = DEFAULT_URL,
) -> None:
    """List the assets that your key sees; submitted ones with the oldest first."""
    if context.invoked_subcommand is not None:
        return
    from serve.cli.asset_client import AssetClient

    with AssetClient(url) as client:
        page = client.assets(state, None, _MAX_PAGE if find_all else limit)
        found, counts = page["assets"], page["counts"]
        while find_all and page["next_cursor"] is not None:
            page = client.assets(state, page["next_cursor"], _MAX_PAGE)
            found = found + page["assets"]
    if as_json:
        print_json(found)
        return
    print_assets(found, counts)
    if page["next_cursor"] is not None:
        note("there are more; --all lists them all")


@assets_app.command()
def show(picture: Picture, as_json: options.Json = False, url: options.Url = DEFAULT_URL) -> None:
    """Show one asset with its comments, and what may be done with it now."""
    from serve.cli.asset_client import AssetClient

    image_id = _image_id(picture)
    with AssetClient(url) as client:
        asset, comments = client.asset(image_id), client.comments(image_id)
    if as_json:
        print_json(asset | {"comments": comments})
    else:
        print_asset(asset, comments)


@assets_app.command()
def history(
    picture: Picture, as_json: options.Json = False, url: options.Url = DEFAULT_URL
) -> None:
    """List what was done with an asset, and by which key and user."""
    from serve.cli.asset_client import AssetClient

    with AssetClient(url) as client:
        events = client.history(_image_id(picture))
    if as_json:
        print_json(events)
    else:
        print_history(events)


@assets_app.command()
def comment(
    picture: Picture,
    text: Text,
    at: At = "",
    as_json: options.Json = False,
    url: options.Url = DEFAULT_URL,
) -> None:
    """Comment on an asset, perhaps on a place in the picture."""
    from serve.cli.asset_client import AssetClient

    options.given(text=text)
    body: dict[str, object] = {"text": text}
    if at:
        body["x"], body["y"] = _point(at)
    with AssetClient(url) as client:
        made = client.comment(_image_id(picture), body)
    if as_json:
        print_json(made)
    else:
        say(f"comment {made['id']}")


@assets_app.command()
def purge(picture: Picture, yes: Yes = False, url: options.Url = DEFAULT_URL) -> None:
    """Erase an asset for good, in any state: picture, latent, comments and notes; admins alone."""
    from serve.cli.asset_client import AssetClient

    image_id = _image_id(picture)
    if not yes:
        typer.confirm(f"erase image {image_id} for good?", abort=True, err=True)
    with AssetClient(url) as client:
        client.purge_asset(image_id)
    say(f"image {image_id} is erased; its events stay in the audit log")


assets_app.command()(export)


def _add_command(action: AssetAction) -> None:
    """Add the command of an action."""

    @assets_app.command(action.name, help=_help(action))
    def change(
        pictures: Pictures,
        reason: Note = "",
        expected_version: Version = None,
        as_json: options.Json = False,
        url: options.Url = DEFAULT_URL,
    ) -> None:
        _change(action, pictures, reason, expected_version, as_json=as_json, url=url)


def _help(action: AssetAction) -> str:
    sources = " or ".join(sorted(action.sources))
    needs = ", with a --note" if action.needs_note else ""
    own = "; the owner alone" if action.is_owners else f"; needs the scope {action.scope}"
    return f"Lead {sources} pictures to {action.target}{needs}{own}."


for _action in ACTIONS.values():
    _add_command(_action)


def _change(
    action: AssetAction,
    pictures: list[str],
    reason: str,
    expected_version: int | None,
    *,
    as_json: bool,
    url: str,
) -> None:
    from serve.cli.asset_client import AssetClient

    options.given(note=reason)
    if action.needs_note and not reason.strip():
        raise CliError(f"{action.name} needs a reason", remedy='--note "what is to be changed"')
    if expected_version is not None and len(pictures) > 1:
        raise CliError("--expected-version is that of one picture")
    ids = [_image_id(one) for one in pictures]
    body: dict[str, object] = {"action": action.name, "note": reason}
    with AssetClient(url) as client:
        if len(ids) == 1:
            asset = client.change_asset(ids[0], body | {"expected_version": expected_version})
            results = [{"id": ids[0], "asset": asset, "error": None}]
        else:
            results = client.change_assets(body | {"ids": ids})
    _report(results, as_json=as_json)


def _report(results: list[dict[str, Any]], *, as_json: bool) -> None:
    """Print what became of each picture.

    Raises:
        CliError: some stayed as they were.
    """
    failed = [one for one in results if one["error"] is not None]
    if as_json:
        print_json(results)
    for one in results:
        if one["error"] is not None:
            fail(CliError(f"{one['id']}: {one['error']['message']}"))
        elif not as_json:
            say(f"{one['id']} is {one['asset']['state']}, version {one['asset']['version']}")
    if failed:
        left = counted(len(failed), "picture")
        raise CliError(f"{left} of {len(results)} stayed as before", ExitCode.FAILED)


def _image_id(given: str) -> str:
    return id_in_file(Path(given), "image_id") or given


def _point(at: str) -> tuple[float, float]:
    found = _POINT.fullmatch(at.replace(" ", ""))
    if found is None:
        raise CliError(f"--at must be like 0.5,0.25, each from 0 to 1, got {at}")
    return float(found[1]), float(found[2])
