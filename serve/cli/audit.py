"""``cascade audit``: check the log of what was done with assets."""

from __future__ import annotations

from typing import Annotated

import typer

from serve.cli import options
from serve.cli.output import CliError, ExitCode, print_json, say
from serve.cli.own_database import own_database

audit_app = typer.Typer(
    help="Check the audit log, in the database that the settings name.", no_args_is_help=True
)

Contains = Annotated[
    str,
    typer.Option(
        "--contains",
        metavar="HASH",
        help="Fail unless an event with this hash is there: one that was noted before.",
        show_default=False,
    ),
]


@audit_app.callback()
def audit() -> None:
    """Check the audit log."""


@audit_app.command()
def verify(contains: Contains = "", as_json: options.Json = False) -> None:
    """Check that no event was changed, moved or removed; prints the newest hash of each chain.

    Events that were cut off at the end do not show by themselves: note the newest hash somewhere
    else, and give it here later.
    """
    with own_database() as database:
        reports = database.audit.verify()
        is_there = not contains or database.audit.has_hash(contains)
    if as_json:
        print_json(
            [
                {
                    "chain": one.chain,
                    "events": one.events,
                    "newest_hash": one.newest_hash,
                    "problem": one.problem or None,
                }
                for one in reports
            ]
        )
    else:
        for one in reports:
            say(f"chain {one.chain}: {one.events} sound events, newest hash {one.newest_hash}")
        if not reports:
            say("there are no events")
    problems = [f"chain {one.chain}: {one.problem}" for one in reports if one.problem]
    if not is_there:
        problems.append(f"no event has the hash {contains}: events were cut off or replaced")
    if problems:
        raise CliError("; ".join(problems), ExitCode.FAILED)
