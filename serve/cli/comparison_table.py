"""The figures of a comparison as a table: a row for each figure, a column for each entry."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

from serve.cli.comparison_run import entry_name
from serve.cli.output import cell, console, note, table

Values = Sequence[float]


def print_table(result: Mapping[str, Any]) -> None:
    """Print the median of each figure, with the least and the most where they differ."""
    printed = table("")
    for entry in result["entries"]:
        printed.add_column(cell(entry_name(entry)), no_wrap=True)
    for title, values in figures(result).items():
        printed.add_row(cell(title), *(cell(text) for text in values))
    console().print(printed)
    for remark in remarks(result):
        note(remark)


def figures(result: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the cells of each row by its title, in the order of the entries."""
    by_entry = [
        [one for one in result["results"] if one["entry"] == place]
        for place in range(len(result["entries"]))
    ]
    scores = dict.fromkeys(
        name for one in result["results"] for each in one["scores"] for name in each
    )

    def cells(values_of: Callable[[Mapping[str, Any]], Values], digits: int) -> list[str]:
        of_entries = [[v for one in of_entry for v in values_of(one)] for of_entry in by_entry]
        return [spread(values, digits) for values in of_entries]

    def scores_named(name: str) -> Callable[[Mapping[str, Any]], Values]:
        return lambda one: [each[name] for each in one["scores"] if name in each]

    rows = {name: cells(scores_named(name), 2) for name in scores}
    rows["sharpness"] = cells(lambda one: one["sharpness"], 0)
    rows["diversity"] = cells(lambda one: _known(one["diversity"]), 3)
    rows["seconds"] = cells(lambda one: _known(one["seconds"]), 2)
    rows["compute seconds"] = cells(lambda one: [one["compute_s"]], 2)
    rows["price"] = cells(lambda one: _known(one["price"]), 6)
    rows["KB"] = cells(lambda one: [one["bytes"] / 1000] if one["bytes"] else [], 0)
    rows["pictures"] = [
        f"{sum(len(one['files']) for one in of_entry)} of {len(of_entry) * result['n']}"
        for of_entry in by_entry
    ]
    return rows


def spread(values: Values, digits: int) -> str:
    """Return the median of values, and the least and the most if they differ; ``-`` of none."""
    if not values:
        return "-"
    least, most = (f"{value:.{digits}f}" for value in (min(values), max(values)))
    middle = f"{median(values):.{digits}f}"
    return middle if least == most else f"{middle} ({least}-{most})"


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
