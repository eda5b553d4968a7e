"""``cascade config``: every setting, its value and where it comes from."""

from __future__ import annotations

import typer

from serve.cli import options
from serve.cli.output import console, print_json


def config(as_json: options.Json = False) -> None:
    """Show the settings and their source; passwords are hidden."""
    from rich.table import Table
    from rich.text import Text

    from serve.settings import explain, load_settings

    rows = explain(load_settings())
    if as_json:
        print_json([{"name": name, "value": value, "source": at} for name, value, at in rows])
        return
    table = Table("setting", "value", "source", box=None)
    for name, value, source in rows:
        table.add_row(name, Text(value), source)
    console().print(table)
    typer.echo("\nThe command line itself reads CASCADE_URL and CASCADE_API_KEY.")
