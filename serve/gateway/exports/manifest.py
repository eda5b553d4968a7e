"""What an export says of its files: ``manifest.json``, ``manifest.csv``, models, licences."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from serve.release import RELEASE
from serve.storage.assets.asset import Asset
from serve.storage.library.picture_record import PictureRecord
from serve.storage.records import iso_utc

FORMAT: Final = 1
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""Spreadsheets compute cells that begin so."""
_APPROVED: Final = ("approved", "published", "archived")
_OWN_NOTES: Final = ("star", "rating", "tags", "boards")


def picture_facts(
    record: PictureRecord,
    asset: Asset,
    cost_s: Mapping[str, float],
    price: float | None,
    licence: str | None,
    *,
    has_texts: bool,
    is_own: bool,
) -> dict[str, Any]:
    """Return what a manifest says of a picture, the same for all its files.

    Args:
        record: how it was made.
        asset: its state.
        cost_s: seconds that each stage's model worked on it.
        price: of these seconds; None: a stage has no price.
        licence: of the model's weights; None: the service does not have that model now.
        has_texts: with the prompts.
        is_own: the exporter owns the picture; stars, ratings and boards are the owner's.
    """
    made, state = record.to_json(), asset.to_json()
    left_out = {"width", "height"} | (set() if has_texts else {"prompt", "negative_prompt"})
    left_out |= set() if is_own else set(_OWN_NOTES)
    names = {"id": "image_id"}
    is_approved = asset.state in _APPROVED
    return {
        **{names.get(name, name): made[name] for name in made if name not in left_out},
        "model": state["model"],
        "licence": licence,
        **{name: state[name] for name in ("state", "version", "submitted_by", "submitted_at")},
        "approved_by": state["decided_by"] if is_approved else None,
        "approved_at": state["decided_at"] if is_approved else None,
        "published_at": state["published_at"],
        "cost_s": {stage: round(seconds, 3) for stage, seconds in cost_s.items()},
        "price": price,
    }


def manifest_json(
    files: Sequence[Mapping[str, Any]], made_by: str, made_at: Any, audit_hash: str
) -> bytes:
    """Return ``manifest.json``.

    Args:
        files: in the archive, and those that could not be made, with their ``error``.
        made_by: the key, and the user that it acted for.
        made_at: the time.
        audit_hash: of the export's event in the audit log, the newest one then.
    """
    body = {
        "format": FORMAT,
        "made_at": iso_utc(made_at),
        "made_by": made_by,
        "made_with": f"Cascade Serve {RELEASE}",
        "audit_hash": audit_hash,
        "files": files,
    }
    return json.dumps(body, ensure_ascii=False, indent=1).encode()


def manifest_csv(files: Iterable[Mapping[str, Any]]) -> bytes:
    """Return ``manifest.csv``: a row a file."""
    rows = list(files)
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(dict.fromkeys(name for row in rows for name in row)))
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    return text.getvalue().encode()


def licences_text(models: Sequence[Mapping[str, Any]], unknown: Iterable[str]) -> bytes:
    """Return ``LICENCES.txt``: what the licence of each model's weights allows."""
    lines = ["Licences of the models whose pictures are in this archive", ""]
    for model in models:
        terms = model["terms"]
        lines.append(f"{model['id']} ({model['revision']}): {model['licence']}")
        lines.append(f"  offering it to others: {terms['hosting']}")
        lines.append(f"  commercial use: {terms['commercial']}")
    lines += [f"{one}: this service does not have it now; see its publisher" for one in unknown]
    lines += ["", "allowed, forbidden, or check: read the licence itself. This is no legal advice."]
    return "\n".join(lines).encode() + b"\n"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        text = " ".join(map(str, value))
    elif isinstance(value, dict):
        text = json.dumps(value, ensure_ascii=False)
    else:
        text = str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
