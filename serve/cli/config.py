"""``cascade config``: shows every setting, its value and its source."""

from __future__ import annotations

from serve.cli import options
from serve.cli.output import cell, console, print_json, say, table


def config(as_json: options.Json = False) -> None:
    """Show the settings and their source; passwords are hidden."""
    from serve.settings import explain, load_settings

    rows = explain(load_settings())
    if as_json:
        print_json([{"name": name, "value": value, "source": at} for name, value, at in rows])
        return
    shown = table("setting", "value", "source")
    for name, value, source in rows:
        shown.add_row(*map(cell, (name, value, source)))
    console().print(shown)
    say("\nThe command line itself reads CASCADE_URL, CASCADE_API_KEY and CASCADE_SCORER.")
