"""Running the command line in tests."""

from __future__ import annotations

from typer.testing import CliRunner, Result

from serve.cli.main import app


class Cascade:
    """Runs ``cascade`` in this process.

    Args:
        url: what ``CASCADE_URL`` says.
    """

    def __init__(self, url: str) -> None:
        self._environment = {"CASCADE_URL": url, "COLUMNS": "200"}

    def __call__(self, *arguments: str) -> Result:
        return CliRunner().invoke(app, list(arguments), env=self._environment)
