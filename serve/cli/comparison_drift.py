"""What has changed since an earlier run of the same comparison: pictures and figures."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from serve.cli.comparison_run import RESULT, entry_name
from serve.cli.figures import difference
from serve.cli.output import say
from serve.release import RELEASE

_TITLES = {"compute_s": "compute seconds"}
_SAME = ("prompts", "seed", "n", "scorer")


def drift_since(result: Mapping[str, Any], folder: Path) -> list[dict[str, Any]]:
    """Return the drift of each entry since the newest earlier run of it beside this one.

    Args:
        result: of this run; without a seed nothing is the same as before.
        folder: of this run, with its pictures; earlier runs lie beside it.

    Returns:
        For each entry that was compared before: when, by which release, whether the weights are
        others now, how many ``pictures`` there are of both runs, how many are ``equal`` pixel by
        pixel, the mean ``difference`` of pixels of 255 (None if sizes differ), and by figure the
        means ``before`` and ``now``.
    """
    if result["seed"] is None:
        return []
    earlier = list(_earlier(result, folder))
    found = (
        _newest_drift(result, folder, place, earlier) for place in range(len(result["entries"]))
    )
    return [drift for drift in found if drift is not None]


def print_drift(drift: list[dict[str, Any]]) -> None:
    """Print the drift of each entry in a few lines."""
    for one in drift:
        releases = f"release {one['release']}, now {RELEASE}"
        say(f"\n{one['name']} since {one['at']} ({releases})", bold=True)
        if one["has_other_weights"]:
            say(f"  other weights: revision {one['revision_before']} is now {one['revision_now']}")
        changed = one["difference"]
        mean = "" if changed is None else f"; mean difference of pixels {changed:.2f} of 255"
        say(f"  {one['equal']} of {one['pictures']} pictures are equal{mean}")
        for name, (before, now) in one["figures"].items():
            say(f"  {_TITLES.get(name, name)}: {before:.3g} before, {now:.3g} now")


def _earlier(result: Mapping[str, Any], folder: Path) -> Iterator[tuple[Mapping[str, Any], Path]]:
    """Yield the runs of the same comparison beside this one, the newest first."""
    found = []
    for file in folder.parent.glob(f"*/{RESULT}"):
        try:
            body = json.loads(file.read_text(encoding="utf-8"))
            is_same = all(body[name] == result[name] for name in _SAME)
            is_whole = len(body["results"]) == len(body["prompts"]) * len(body["entries"])
            at = str(body["at"])
        except (OSError, ValueError, KeyError, TypeError):
            continue  # another program's file
        if is_same and is_whole and file.parent != folder:
            found.append((at, file.parent, body))
    for _, where, body in sorted(found, key=lambda run: run[:2], reverse=True):
        yield body, where


def _newest_drift(
    result: Mapping[str, Any],
    folder: Path,
    place: int,
    earlier: Sequence[tuple[Mapping[str, Any], Path]],
) -> dict[str, Any] | None:
    """Return the drift of an entry since the newest run that had it; None if none had."""
    for before, where in earlier:
        try:
            entries = enumerate(before["entries"])
            same = [at for at, one in entries if _is_same(one, result["entries"][place])]
            if same:
                return _drift(result, folder, place, before, where, same[0])
        except (ValueError, KeyError, TypeError, IndexError):
            continue  # a damaged file
    return None


def _is_same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return (one["model"], one["settings"]) == (other["model"], other["settings"])


def _drift(
    result: Mapping[str, Any],
    folder: Path,
    place: int,
    before: Mapping[str, Any],
    where: Path,
    place_before: int,
) -> dict[str, Any]:
    pairs = [
        (where / old[index], folder / new[index])
        for old, new in zip(_files(before, place_before), _files(result, place), strict=True)
        for index in old.keys() & new.keys()
    ]
    differences = [_difference(*pair) for pair in pairs if pair[0].is_file()]
    known = [value for value in differences if value is not None]
    entry, entry_before = result["entries"][place], before["entries"][place_before]
    old_means, new_means = _means(_of(before, place_before)), _means(_of(result, place))
    return {
        "name": entry_name(entry),
        "at": before["at"],
        "release": before["release"],
        "has_other_weights": entry["fingerprint"] != entry_before["fingerprint"],
        "revision_before": entry_before["revision"],
        "revision_now": entry["revision"],
        "pictures": len(differences),
        "equal": sum(value == 0 for value in differences),
        "difference": sum(known) / len(known) if known else None,
        "figures": {
            name: (old_means[name], new_means[name]) for name in new_means if name in old_means
        },
    }


def _files(result: Mapping[str, Any], place: int) -> list[dict[int, str]]:
    """Return the names of an entry's pictures by their indices, for each prompt."""
    return [dict(zip(one["indices"], one["files"], strict=True)) for one in _of(result, place)]


def _of(result: Mapping[str, Any], place: int) -> list[Mapping[str, Any]]:
    return [one for one in result["results"] if one["entry"] == place]


def _means(results: list[Mapping[str, Any]]) -> dict[str, float]:
    values: dict[str, list[float]] = {}
    for one in (each for each in results if each["state"] == "succeeded"):
        for each in one["scores"]:
            for name, value in each.items():
                values.setdefault(name, []).append(value)
        values.setdefault("sharpness", []).extend(one["sharpness"])
        for name in ("diversity", "seconds", "compute_s", "price", "bytes"):
            values.setdefault(name, []).extend([] if one[name] is None else [one[name]])
    return {name: sum(found) / len(found) for name, found in values.items() if found}


def _difference(before: Path, now: Path) -> float | None:
    """Return the difference of two pictures; None if their sizes differ or one is damaged."""
    try:
        with Image.open(before) as one, Image.open(now) as other:
            return difference(one, other)
    except OSError:
        return None
