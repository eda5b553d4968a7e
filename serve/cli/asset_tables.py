"""Prints assets, their comments and their history."""

from __future__ import annotations

from typing import Any

from serve.cli.output import cell, console, local_time, say, table

_SHOWN_CHARS = 60
_MINUTE = "%Y-%m-%d %H:%M"

Rows = list[dict[str, Any]]


def print_assets(found: Rows, counts: dict[str, int]) -> None:
    """Print a line for each asset, and how many there are of each state."""
    if not found:
        say("no asset is found; cascade assets submit makes one of a picture")
        return
    shown = table("id", "state", "since", "by")
    shown.add_column("prompt", no_wrap=True, overflow="ellipsis", min_width=12)
    for asset in found:
        values = (
            asset["id"],
            asset["state"],
            local_time(asset["changed_at"], _MINUTE),
            actor_name(asset["submitted_by"]),
            asset["prompt"][:_SHOWN_CHARS],
        )
        shown.add_row(*map(cell, values))
    console().print(shown)
    say(", ".join(f"{count} {state}" for state, count in counts.items() if count))


def print_asset(asset: dict[str, Any], comments: Rows) -> None:
    """Print an asset with its comments."""
    model = asset["model"]
    say(f"{asset['id']} is {asset['state']}, version {asset['version']}", bold=True)
    say(f"  {asset['prompt']}")
    say(f"  {asset['width']}x{asset['height']}  seed {asset['seed']}  latent {asset['latent_id']}")
    if model is not None:
        say(f"  model {model['id']} {model['revision']}")
    if asset["sha256"]:
        say(f"  sha256 {asset['sha256']}")
    for title, by, at in (
        ("submitted", asset["submitted_by"], asset["submitted_at"]),
        ("decided", asset["decided_by"], asset["decided_at"]),
    ):
        if by is not None:
            say(f"  {title} by {actor_name(by)} at {local_time(at, _MINUTE)}")
    if asset["note"]:
        say(f"  note: {asset['note']}")
    for one in comments:
        place = "" if one["x"] is None else f" at {one['x']:g},{one['y']:g}"
        mark = "done" if one["resolved"] else "open"
        say(f"  comment by {actor_name(one['author'])}{place} ({mark}): {one['text']}")
    say(f"  you may: {', '.join(asset['actions']) or 'only look'}")


def print_presets(presets: Rows) -> None:
    """Print a line for each preset of exports."""
    shown = table("preset", "pixels", "fit", "format", "at most")
    for one in presets:
        most = "" if one["max_bytes"] is None else f"{one['max_bytes'] / 1e6:g} MB"
        size = f"{one['width']}x{one['height']}"
        shown.add_row(*map(cell, (one["name"], size, one["fit"], one["format"], most)))
    console().print(shown)


def print_history(events: Rows) -> None:
    """Print a line for each event."""
    if not events:
        say("nothing was done with this picture yet")
        return
    shown = table("at", "by", "action", "to")
    shown.add_column("note", overflow="fold")
    for event in events:
        by, at = actor_name(event["actor"]), local_time(event["at"], _MINUTE)
        values = (at, by, event["action"], event["to_state"] or "", event["note"])
        shown.add_row(*map(cell, values))
    console().print(shown)


def actor_name(actor: dict[str, Any] | None) -> str:
    """Return a key's name, with the user that it acted for."""
    if actor is None:
        return ""
    return actor["key"] if actor["user"] is None else f"{actor['key']} ({actor['user']})"
