"""``cascade doctor``: checks everything that the service needs."""

from __future__ import annotations

from dataclasses import asdict

import typer

from serve.cli import options
from serve.cli.options import DEFAULT_URL
from serve.cli.output import ExitCode, print_json, say

_MARKS = {"ok": ("ok  ", "green"), "warning": ("warn", "yellow"), "broken": ("FAIL", "red")}


def doctor(as_json: options.Json = False, url: options.GivenUrl = DEFAULT_URL) -> None:
    """Check this machine, the model, the stores and the server; exit 1 if something is broken."""
    from serve.cli.checks import run_checks

    findings = run_checks(url)
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            mark, colour = _MARKS[finding.status]
            say(f"{mark}  ", fg=colour, nl=False)
            say(f"{finding.name}: {finding.detail}")
            if finding.remedy:
                say(f"      -> {finding.remedy}")
    if any(finding.status == "broken" for finding in findings):
        raise typer.Exit(ExitCode.FAILED)
