"""``cascade keys``: make, list and revoke API keys, directly in the configured database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from serve.cli import options
from serve.cli.output import cell, console, local_time, note, print_json, say, table
from serve.cli.own_database import own_database

if TYPE_CHECKING:
    from serve.storage.access.credentials import ApiKey, KeyStore

_MINUTE = "%Y-%m-%d %H:%M"

keys_app = typer.Typer(
    help="Make, list and revoke API keys, in the database that the settings name.",
    no_args_is_help=True,
)


class Scope(StrEnum):
    """A scope that a key may get on its own."""

    CREATE = "create"
    READ = "read"
    REVIEW = "review"
    PUBLISH = "publish"


Name = Annotated[
    str, typer.Argument(metavar="NAME", help="The key's user or purpose.", show_default=False)
]
Scopes = Annotated[
    list[Scope] | None,
    typer.Option(
        "--scope",
        help="create: make, cancel and delete; read: look and share (both if none is given); "
        "review: decide on submitted pictures; publish: publish and archive them.",
        show_default=False,
    ),
]
Admin = Annotated[
    bool, typer.Option("--admin", help="May do everything, with the jobs of all keys.")
]
Trusted = Annotated[
    bool, typer.Option("--trusted", help="Acts for end users, as a chat bot does, by 'user'.")
]
PerMinute = Annotated[
    int, typer.Option("--requests-per-minute", min=0, help="Most requests; 0 is no limit.")
]
ModelIds = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        metavar="ID",
        help="A model that it may use, by its id; several times for several. All if not given.",
        show_default=False,
    ),
]
KeyId = Annotated[str, typer.Argument(metavar="ID", help="The key's id.", show_default=False)]


@keys_app.command()
def create(
    name: Name,
    scope: Scopes = None,
    admin: Admin = False,
    trusted: Trusted = False,
    requests_per_minute: PerMinute = 600,
    model: ModelIds = None,
    as_json: options.Json = False,
) -> None:
    """Make a key and show its secret, this once."""
    from serve.storage.access.credentials import KeyScope

    scopes: list[KeyScope] = [item.value for item in scope or (Scope.CREATE, Scope.READ)]
    scopes += ["admin"] if admin else []
    scopes += ["trusted"] if trusted else []
    with _store() as store:
        others = store.all()
        key, token = store.create(name, scopes, requests_per_minute, model or None)
    if as_json:
        print_json(key.to_json() | {"key": token})
    else:
        note("The key is shown this once; cascade and the bot read it from CASCADE_API_KEY.")
        say(token)
    same = [other.id for other in others if other.name == key.name and other.revoked_at is None]
    if same:
        note(f"Another valid key has this name: {', '.join(same)}. It stays valid.")
    if not others:
        note("From now on every client needs a key. Jobs made before belong to admin keys.")


@keys_app.command("list")
def list_keys(as_json: options.Json = False) -> None:
    """List all keys, revoked ones too; secrets are not stored and cannot be shown."""
    with _store() as store:
        found = store.all()
    if as_json:
        print_json([key.to_json() for key in found])
    elif found:
        _print_table(found)
    else:
        say("no keys: the service answers this machine only")


@keys_app.command()
def revoke(key_id: KeyId, as_json: options.Json = False) -> None:
    """End a key and the links it made, within seconds on a running service.

    Its jobs stay.
    """
    with _store() as store:
        key = store.revoke(key_id)
        is_last = all(other.revoked_at is not None for other in store.all())
    if as_json:
        print_json(key.to_json())
    else:
        say(f"key {key.id} ({key.name}) is revoked")
    if is_last:
        note("No valid key is left: the service refuses every client until you make one.")


@keys_app.command("end-links")
def end_links() -> None:
    """End every shared link to a picture, within seconds on a running service; keys stay."""
    from serve.gateway.auth.signed_links import end_all_links

    with own_database() as database:
        end_all_links(database)
    typer.echo("all links that were made until now have ended")


@contextmanager
def _store() -> Iterator[KeyStore]:
    with own_database() as database:
        yield database.keys


def _print_table(found: list[ApiKey]) -> None:
    rows = table("id", "name", "scopes", "per minute", "models", "created", "last used", "state")
    for key in found:
        shown = key.to_json()
        used = shown["last_used_at"]
        values = (
            key.id,
            key.name,
            " ".join(shown["scopes"]),
            key.requests_per_minute or "no limit",
            "all" if key.models is None else " ".join(key.models),
            local_time(shown["created_at"], _MINUTE),
            local_time(used, _MINUTE) if used else "never",
            "valid" if key.revoked_at is None else "revoked",
        )
        rows.add_row(*map(cell, values))
    console().print(rows)
