"""``cascade bot``: runs the bot, prints invite links, registers its commands."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from importlib import import_module
from typing import Any

import typer

from bot.settings import Settings, load_settings
from bot.telemetry.log import configure_logging
from cascade_core.errors import CascadeError, NotReady, SettingsInvalid
from cascade_core.printable import lines

_HINT = "cascade bot needs discord.py: pip install 'cascade-serve[bot]', or make install"
_BAD_USAGE, _FAILED, _UNREACHABLE = 2, 1, 3

app = typer.Typer(
    help="The Discord bot.",
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command()
def run() -> None:
    """Serve Discord until Ctrl-C."""
    _run_to_end(lambda module, settings: module.run_bot(settings))


@app.command()
def invite() -> None:
    """Print the links that add the bot to a server or to an account."""
    to_server, to_account = _run_to_end(lambda module, settings: module.invite_links(settings))
    typer.echo(f"to a server:     {to_server}\nto your account: {to_account}")


@app.command()
def sync() -> None:
    """Register the commands at Discord, even if they are unchanged."""
    count = _run_to_end(lambda module, settings: module.sync_commands(settings))
    typer.echo(f"{count} commands are registered")


def main() -> None:
    """Run the bot; for ``python -m bot``."""
    app(args=sys.argv[1:] or ["run"])


def _run_to_end(do: Callable[[Any, Settings], Coroutine[Any, Any, Any]]) -> Any:
    """Run a function of `bot.run`; an error becomes one sentence and an exit code."""
    try:
        module = import_module("bot.run")  # discord.py loads slowly and may be absent
    except ModuleNotFoundError as error:
        raise _exit(_HINT, _BAD_USAGE) from error
    try:
        settings = load_settings()
        configure_logging(settings.log_format, settings.log_level)
        return asyncio.run(do(module, settings))
    except module.StartFailed as error:
        raise _exit(str(error), error.exit_code) from error
    except SettingsInvalid as error:
        raise _exit(error.message, _BAD_USAGE) from error
    except CascadeError as error:
        code = _UNREACHABLE if isinstance(error, NotReady) else _FAILED
        raise _exit(error.message, code) from error


def _exit(message: str, code: int) -> typer.Exit:
    typer.echo(f"error: {lines(message)}", err=True)
    return typer.Exit(code)
