"""Output of the command line: results on stdout, everything else on stderr, exit codes."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
from collections.abc import Iterator
from datetime import datetime
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from cascade_core.operations.registry import find_operation
from cascade_core.printable import lines, one_line

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

_PIPED_WIDTH = 200  # rich would fold tables at 80 columns in a pipe


class ExitCode(IntEnum):
    """The exit codes of all commands."""

    DONE = 0
    FAILED = 1
    BAD_USAGE = 2
    UNREACHABLE = 3


class CliError(Exception):
    """Ends the command with one sentence and, if there is one, its remedy.

    Args:
        message: what went wrong.
        exit_code: how the process ends.
        remedy: what to do about it.
    """

    def __init__(
        self, message: str, exit_code: ExitCode = ExitCode.BAD_USAGE, remedy: str = ""
    ) -> None:
        super().__init__(message, exit_code, remedy)
        self.message = message
        self.exit_code = exit_code
        self.remedy = remedy

    def __str__(self) -> str:
        return self.message


def console(*, stderr: bool = False) -> Console:
    """Return a console for tables and bars that does not fold lines in a pipe."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    return Console(file=stream, width=None if stream.isatty() else _PIPED_WIDTH, highlight=False)


def accept_any_text() -> None:
    r"""Print characters that the terminal's encoding lacks as ``\xe9`` instead of raising."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def own_command() -> str:
    """Return the command that starts this program: its name if in PATH, or its file."""
    file = Path(sys.argv[0])
    if shutil.which("cascade") or file.name != "cascade":
        return "cascade"
    return os.path.relpath(file)


def counted(number: int, what: str) -> str:
    """Return a number with its noun: ``1 job``, ``2 jobs``."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def say(text: str = "", **style: Any) -> None:
    """Print text, with its control characters escaped.

    Args:
        text: what to print; texts of people and servers may contain any character.
        style: of ``typer.secho``.
    """
    typer.secho(lines(text), **style)


def cell(value: object) -> Text:
    """Return one cell of a table: one line, without control characters."""
    from rich.text import Text

    return Text(one_line(" ".join(str(value).split())))


def table(*titles: str) -> Table:
    """Return an empty table without lines; :func:`cell` makes its cells."""
    from rich.table import Table

    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for title in titles:
        made.add_column(title, no_wrap=True)
    return made


def note(text: str) -> None:
    """Print something that is not the result, on stderr."""
    say(text, err=True)


def print_json(value: Any) -> None:
    """Print one JSON document on stdout, in ASCII for any terminal."""
    typer.echo(json.dumps(value, indent=2))


def fail(error: CliError) -> None:
    """Print the error and its remedy."""
    say(f"error: {error.message}", err=True, fg="red")
    if error.remedy:
        note(f"  try: {error.remedy}")


def print_outcome(job: dict[str, Any], files: list[Path]) -> None:
    """Print the saved files, ids, seeds and seconds per stage of a finished job."""
    for image, file in zip(job["images"], files, strict=True):
        say(str(file), bold=True)
        say(f"  image {image['id']}  latent {image['latent_id']}")
        say(
            f"  seed {image['seed']}  decoder seed {image['decoder_seed']}"
            f"  {image['width']}x{image['height']}"
        )
    for remark in remarks(job):
        note(remark)
    say(seconds_per_stage(job))


def remarks(job: dict[str, Any]) -> Iterator[str]:
    """Yield what the client of a job should know besides its pictures.

    These are the job's warnings, and the compositions that a checker rejected, by the number of
    their image and the rule.
    """
    for warning in job.get("warnings") or []:
        yield f"warning: {warning}"
    if rejected := job.get("rejected"):
        each = ", ".join(f"{one['index']} ({one['rule']})" for one in rejected)
        yield f"rejected by a checker and composed anew: {each}"


def seconds_per_stage(job: dict[str, Any]) -> str:
    """Return for example ``C 0.41 s, B 0.30 s, A 0.05 s``; ``not run`` for a stage that did not."""
    parts = []
    for key, seconds in (job.get("cost") or {}).items():
        title = key.removesuffix("_s").upper()
        parts.append(f"{title} {seconds:.2f} s" if seconds else f"{title} not run")
    return ", ".join(parts)


def prompt_of(job: dict[str, Any]) -> str:
    """Return a job's prompt, after the operation's title if the job starts from a latent."""
    prompt, operation = str(job["request"]["prompt"]), find_operation(job["kind"])
    if operation is not None and operation.starts_from_latent:
        return f"({operation.title}) {prompt}"
    return prompt


def model_seconds(job: dict[str, Any]) -> float:
    """Return the seconds that all stages' models worked on a job."""
    return float(sum((job.get("cost") or {}).values()))


def local_time(iso_utc: str, form: str = "%Y-%m-%d %H:%M:%S") -> str:
    """Return a time of the API in this machine's time zone."""
    return datetime.fromisoformat(iso_utc).astimezone().strftime(form)


def job_failure(job: dict[str, Any]) -> CliError:
    """Return the error for a job that did not succeed."""
    if job["state"] == "cancelled":
        return CliError(f"job {job['id']} was cancelled", ExitCode.FAILED)
    error = job.get("error") or {}
    message = error.get("message") or "no reason was given"
    return CliError(
        f"job {job['id']} failed: {message} ({error.get('code', 'internal')})", ExitCode.FAILED
    )
