"""The figures of a comparison as a table: rows for each figure, a column for each entry."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any, Final

from rich.text import Text

from serve.cli.comparison_run import entry_name
from serve.cli.output import cell, console, note, say, table

MAX_NAMES_CHARS: Final = 48
"""Of all entries together; longer names stand above the table, which fits 80 columns then."""

Values = Sequence[float]
Spread = tuple[str, str]
"""A median, and ``least-most`` or nothing."""


def print_table(result: Mapping[str, Any]) -> None:
    """Print the median of each figure, and below the least and the most where they differ."""
    names = [entry_name(entry) for entry in result["entries"]]
    titles = names
    if sum(map(len, names)) > MAX_NAMES_CHARS:
        titles = [str(number) for number in range(1, len(names) + 1)]
        for title, name in zip(titles, names, strict=True):
            say(f"{title}: {name}")
    printed = table("")
    for title in titles:
        printed.add_column(cell(title), no_wrap=True)
    for row, values in figures(result).items():
        printed.add_row(cell(row), *(cell(middle) for middle, _ in values))
        if any(ends for _, ends in values):
            printed.add_row("", *(Text(ends, style="dim") for _, ends in values))
    console().print(printed)
    for remark in remarks(result):
        note(remark)


def figures(result: Mapping[str, Any]) -> dict[str, list[Spread]]:
    """Return each row by its title: the median and the ends of each entry's values."""
    by_entry = [
        [one for one in result["results"] if one["entry"] == place]
        for place in range(len(result["entries"]))
    ]
    scores = dict.fromkeys(
        name for one in result["results"] for each in one["scores"] for name in each
    )

    def cells(values_of: Callable[[Mapping[str, Any]], Values], form: str) -> list[Spread]:
        of_entries = [
            [v for one in of_entry if one["state"] == "succeeded" for v in values_of(one)]
            for of_entry in by_entry
        ]
        return [spread(values, form) for values in of_entries]

    def scores_named(name: str) -> Callable[[Mapping[str, Any]], Values]:
        return lambda one: [each[name] for each in one["scores"] if name in each]

    rows = {name: cells(scores_named(name), ".2f") for name in scores}
    rows["sharpness"] = cells(lambda one: one["sharpness"], ".0f")
    rows["diversity"] = cells(lambda one: _known(one["diversity"]), ".3f")
    rows["seconds"] = cells(lambda one: _known(one["seconds"]), ".2f")
    rows["compute s"] = cells(lambda one: [one["compute_s"]], ".2f")
    rows["price"] = cells(lambda one: _known(one["price"]), ".2g")
    rows["KB"] = cells(lambda one: [one["bytes"] / 1000] if one["bytes"] else [], ".0f")
    rows["pictures"] = [
        (f"{sum(len(one['files']) for one in of_entry)} of {len(of_entry) * result['n']}", "")
        for of_entry in by_entry
    ]
    return rows


def spread(values: Values, form: str) -> Spread:
    """Return the median of values as text, and their ends if these differ; ``-`` of none."""
    if not values:
        return "-", ""
    least, most = (f"{value:{form}}" for value in (min(values), max(values)))
    return f"{median(values):{form}}", "" if least == most else f"{least}-{most}"


def remarks(result: Mapping[str, Any]) -> list[str]:
    """Return what was not measured and why, and the jobs that failed."""
    found = []
    if not any(each for one in result["results"] for each in one["scores"]):
        found.append(f"no score: {result['scorer']} has none for these prompts")
    if result["n"] == 1:
        found.append("no diversity: it compares the pictures of one prompt; try --n 2 or more")
    if all(one["price"] is None for one in result["results"]):
        found.append("no price: the service has no CASCADE_HOUR_PRICE_* of these stages")
    for one in result["results"]:
        if one["error"]:
            named = entry_name(result["entries"][one["entry"]])
            found.append(f"{named}: job {one['job_id']} failed: {one['error']['message']}")
    return found


def _known(value: float | None) -> Values:
    return [] if value is None else [value]
