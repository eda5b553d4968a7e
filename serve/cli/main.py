"""The ``cascade`` command."""

from __future__ import annotations

import atexit
import os
import sys
from importlib.metadata import EntryPoints, entry_points
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from cascade_core.errors import (
    CascadeError,
    DatabaseNewer,
    DatabaseOlder,
    ModelUnavailable,
    NotReady,
)
from serve.cli.assets import assets_app
from serve.cli.audit import audit_app
from serve.cli.backup import export, import_
from serve.cli.compare import compare
from serve.cli.config import config
from serve.cli.demo import demo
from serve.cli.doctor import doctor
from serve.cli.draft import continue_, draft, redo
from serve.cli.generate import generate
from serve.cli.jobs import jobs_app
from serve.cli.keys import keys_app
from serve.cli.library import library_app
from serve.cli.migrate import migrate
from serve.cli.models import models
from serve.cli.output import CliError, ExitCode, accept_any_text, fail, say
from serve.cli.provenance import provenance_app
from serve.cli.series import series
from serve.cli.suggestions import suggestions
from serve.cli.top import top
from serve.cli.up import up
from serve.cli.vary import decode, vary
from serve.release import RELEASE

_ADDED = "cascade.commands"
"""Entry points of this group are commands of other packages."""
_EXIT_CODES = "Exit codes: 0 done, 1 failed, 2 bad usage, key or id, 3 the service does not answer."


class _Group(TyperGroup):
    """Turns our errors into one sentence and an exit code."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        prompt = suggestions(1)[0]
        lines = ["cascade up", f'cascade generate "{prompt}"', "cascade vary IMAGE_ID", _EXIT_CODES]
        self.epilog = "\n\n".join(lines)
        super().format_help(ctx, formatter)

    def list_commands(self, ctx: Any) -> list[str]:
        """Return our commands and those that other packages add."""
        return [*super().list_commands(ctx), *(point.name for point in _added())]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command; a command of another package is loaded only when it is used."""
        found = super().get_command(ctx, cmd_name)
        if found is not None:
            return found
        for point in _added():
            if point.name == cmd_name:
                added = get_command(point.load())
                added.name = cmd_name  # otherwise the list of commands shows no name
                return added
        return None

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except CliError as error:
            fail(error)
            raise typer.Exit(error.exit_code) from error
        except CascadeError as error:
            fail(CliError(error.for_operator))
            raise typer.Exit(_exit_code(error)) from error


class _WithPrompts(TyperCommand):
    """Ends its help with example prompts of the configured model."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        examples = [f'cascade generate "{prompt}"' for prompt in suggestions()]
        self.epilog = "\n\n".join(["Examples:", *examples])
        super().format_help(ctx, formatter)


app = typer.Typer(
    name="cascade",
    cls=_Group,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        say(f"cascade {RELEASE}")
        raise typer.Exit


Version = Annotated[
    bool,
    typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version."),
]


@app.callback()
def main(show_version: Version = False) -> None:
    """Stable Cascade as a service: pictures of prompts, and new details for them."""


app.command()(up)
app.command(cls=_WithPrompts)(generate)
app.command()(vary)
app.command()(decode)
app.command(cls=_WithPrompts)(draft)
app.command()(redo)
app.command("continue")(continue_)
app.command()(series)
app.command()(compare)
app.add_typer(jobs_app, name="jobs")
app.add_typer(library_app, name="library")
app.add_typer(assets_app, name="assets")
app.command()(top)
app.add_typer(keys_app, name="keys")
app.add_typer(provenance_app, name="provenance")
app.add_typer(audit_app, name="audit")
app.command()(config)
app.command()(models)
app.command()(doctor)
app.command()(migrate)
app.command()(export)
app.command("import")(import_)
app.command()(demo)


def run() -> None:
    """Entry point of the ``cascade`` script."""
    accept_any_text()
    try:
        app()
    except SystemExit as end:
        if isinstance(end.code, int):
            _end(end.code)
        raise


def _end(code: int) -> NoReturn:
    """End the process without the interpreter's finalization.

    The threads of obstore deliver their results in Python. A thread that does so during the
    finalization aborts the process (exit status 134), although all work is done.
    """
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):  # its reader has gone, or it was closed
            code = code or ExitCode.FAILED
    os._exit(code)


def _added() -> EntryPoints:
    return entry_points(group=_ADDED)


def _exit_code(error: CascadeError) -> ExitCode:
    failed = (DatabaseNewer, DatabaseOlder, ModelUnavailable, NotReady)
    return ExitCode.FAILED if isinstance(error, failed) or error.retryable else ExitCode.BAD_USAGE


if __name__ == "__main__":
    run()
