"""Makes comparisons, saves their pictures and measures them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from PIL import Image

from serve.cli.client import ServiceClient
from serve.cli.figures import (
    Scorer,
    diversity,
    load_scorer,
    scorer_path,
    scores_of,
    sharpness,
)
from serve.cli.output import CliError, ExitCode, note
from serve.cli.submit import save_image, watch, write_whole
from serve.release import RELEASE

RESULT: Final = "result.json"
"""The file with all that was measured, in the folder of the pictures."""
_TOOK: Final = ("seconds", "compute_s", "price", "bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is compared.

    Attributes:
        prompts: one comparison each.
        what: the part of a request that says what is compared: ``models`` or ``settings``.
        seed: of every picture 0; None: the service draws one.
        n: pictures of each entry and prompt.
    """

    prompts: Sequence[str]
    what: Mapping[str, Any]
    seed: int | None
    n: int


def run(client: ServiceClient, plan: Plan, folder: Path, *, is_silent: bool) -> dict[str, Any]:
    """Make all comparisons one after another; what is measured is kept after each.

    Args:
        client: of the service.
        plan: what is compared.
        folder: where the pictures are saved.
        is_silent: show progress on a terminal alone.

    Returns:
        What was compared and measured, as JSON: ``entries`` (what each is), and ``results``, one
        for each prompt and entry, in this order.

    Raises:
        CliError: the service refuses one, one was cancelled, or the scorer fails.
    """
    path = scorer_path()
    scorer = load_scorer(path)
    known = {model["id"]: model for model in client.models()["data"]}
    result: dict[str, Any] = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "release": RELEASE,
        "prompts": list(plan.prompts),
        "seed": plan.seed,
        "n": plan.n,
        "scorer": path,
        "entries": [],
        "results": [],
    }
    for number, prompt in enumerate(plan.prompts):
        if len(plan.prompts) > 1:
            note(f"prompt {number + 1} of {len(plan.prompts)}: {prompt}")
        body = {"prompt": prompt, "n": plan.n, **plan.what}
        body |= {} if plan.seed is None else {"seed": plan.seed}
        comparison = _ended(client, client.compare(body), is_silent=is_silent)
        result["entries"] = [_entry(entry, known) for entry in comparison["entries"]]
        for place, entry in enumerate(comparison["entries"]):
            about = {"prompt": number, "entry": place, "comparison_id": comparison["id"]}
            about |= {"seed": comparison["seed"]}
            result["results"].append(about | _measured(client, entry, prompt, folder, scorer, path))
        keep(result, folder)
    return result


def keep(result: dict[str, Any], folder: Path) -> None:
    """Write what was measured so far into the folder of its pictures."""
    write_whole(folder / RESULT, json.dumps(result, indent=1).encode())


def _measured(
    client: ServiceClient,
    entry: Mapping[str, Any],
    prompt: str,
    folder: Path,
    scorer: Scorer,
    path: str,
) -> dict[str, Any]:
    """Save the pictures of an entry, and return its figures."""
    job = entry["job"]
    files = [save_image(client, job["id"], image, folder) for image in job["images"]]
    pictures = [_opened(file) for file in files]
    return {
        "job_id": job["id"],
        "state": job["state"],
        "error": job["error"],
        "indices": [image["index"] for image in job["images"]],
        "files": [file.name for file in files],
        "scores": [scores_of(scorer, path, one, prompt) for one in pictures],
        "sharpness": [sharpness(one) for one in pictures],
        "diversity": diversity(pictures),
        **{name: entry[name] for name in _TOOK},
    }


def _ended(client: ServiceClient, comparison: dict[str, Any], *, is_silent: bool) -> dict[str, Any]:
    """Return a comparison whose jobs have ended; Ctrl-C cancels them all.

    Raises:
        CliError: they were cancelled.
    """
    for place, entry in enumerate(comparison["entries"]):
        if len(comparison["entries"]) > 1 and not is_silent:
            note(entry_name(_entry(entry, {})))
        ended = watch(client, entry["job"], terminal_only=is_silent)
        if ended["state"] == "cancelled":
            for later in comparison["entries"][place + 1 :]:
                client.cancel(later["job"]["id"])
            raise CliError("the comparison was cancelled", ExitCode.FAILED)
    return client.comparison(comparison["id"])


def _entry(entry: Mapping[str, Any], known: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    model = known.get(entry["model"], {})
    settings = {name: value for name, value in entry["settings"].items() if name != "model"}
    about = {name: model.get(name) for name in ("revision", "fingerprint", "licence")}
    return {"model": entry["model"], "settings": settings, **about}


def entry_name(entry: Mapping[str, Any]) -> str:
    """Return a title of an entry: its model and its settings."""
    settings = (f"{name}={value}" for name, value in entry["settings"].items())
    return " ".join([str(entry["model"]), *settings])


def _opened(file: Path) -> Image.Image:
    with Image.open(file) as picture:
        return picture.convert("RGB")
