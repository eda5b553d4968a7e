"""What a check of the doctor returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from serve.cli.output import CliError, ExitCode


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check, and what to do about it."""

    name: str
    status: Literal["ok", "warning", "broken"]
    detail: str
    remedy: str = ""


def require(finding: Finding) -> None:
    """Refuse to start the service if a check found something broken.

    Raises:
        CliError: it did.
    """
    if finding.status == "broken":
        raise CliError(f"{finding.name}: {finding.detail}", ExitCode.FAILED, finding.remedy)
