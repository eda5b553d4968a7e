"""Checks that the rows of an archive are those of one past job, as this service writes them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final, get_args

from cascade_core.job_states import TERMINAL_STATES
from cascade_core.operations.fields import MAX_SEED, SEEDS, ImageFormat
from cascade_core.operations.registry import Kind
from cascade_core.request import GenerationRequest
from serve.checker import MAX_RULE_CHARS
from serve.json_depth import is_too_deep
from serve.maintenance.archive import MAX_ENTRY_BYTES
from serve.storage.blobs.blob_keys import preview_key_from_name
from serve.storage.job_parts.choice import Choice
from serve.storage.job_parts.redo import MAX_REDOS, REPLACED_COLUMNS, redos_from
from serve.storage.job_parts.rejection import Rejection, rejections_from
from serve.storage.records import LatentUse, utc_now

ID: Final = r"[A-Za-z0-9_-]{1,64}"
FORMATS: Final[tuple[str, ...]] = get_args(ImageFormat)
_LONGEST_JOB = timedelta(days=366)
"""Longest time from acceptance to end; the times of past jobs feed the estimates for new ones."""
_CLOCKS_DIFFER = timedelta(days=1)
_CHANGEABLE = {"decoder_steps", "width", "height"}
"""Fields of a request that may be other when a waiting job is continued."""

Rows = dict[str, list[dict[str, Any]]]
"""The rows of one job: ``job``, ``images`` and ``latents``."""


def check_rows(rows: Rows, job_id: str) -> None:
    """Check the invariants of a job's rows.

    Raises:
        ValueError, KeyError, InvalidRequest: the rows break an invariant.
    """
    (job,) = rows["job"]
    request = GenerationRequest.from_dict(job["request"])
    choice = _checked_choice(job["choice"], request)
    redos, rejections = redos_from(job["redos"]), rejections_from(job["rejections"])
    replaced = [values for redo in job["redos"] or () for values in redo["replaced"]]
    most = request.operation.max_images
    for latent in rows["latents"]:
        GenerationRequest.from_dict(latent["request"])
    parts = rows["images"] + rows["latents"]
    pictures = rows["images"]
    ids = [row["id"] for row in parts] + [row["latent_id"] for row in pictures]
    is_sound = (
        job["id"] == job_id
        and job["state"] in TERMINAL_STATES
        and job["kind"] in get_args(Kind)
        and _are_texts(job["warnings"])
        and isinstance(job["error"], dict | None)
        and _are_texts(list((job["error"] or {}).values()))
        and isinstance(job["client_state"], dict | None)
        and not is_too_deep(job["client_state"])
        and job["finished_at"] is not None
        and _are_of_one_job(
            *_times(job),
            *(row["ready_at"] for row in pictures),
            *(asked.at for asked in (choice, *redos) if asked),
        )
        and (not redos or request.stop_after is not None)
        and len(redos) <= MAX_REDOS
        and all(_is_replaced(values, job_id, len(pictures)) for values in replaced)
        and all(_is_rejection(one, len(pictures)) for one in rejections)
        and [one.to_stored() for one in rejections] == (job["rejections"] or [])
        and len(pictures) <= most
        and all(0 <= (row["size_bytes"] or 0) <= MAX_ENTRY_BYTES for row in pictures)
        and all(row["job_id"] == job_id for row in parts)
        and all(row["format"] in FORMATS for row in pictures)
        and all(_is_preview_of(row) for row in pictures if row["preview"] is not None)
        and all(0 <= row["index"] < most for row in parts)
        and all(re.fullmatch(ID, part_id) for part_id in ids)
        and all(len({row["id"] for row in rows[kind]}) == len(rows[kind]) for kind in rows)
    )
    if not is_sound:
        raise ValueError


def _checked_choice(stored: Any, request: GenerationRequest) -> Choice | None:
    """Return what was continued of a job, if anything.

    Raises:
        ValueError, KeyError, TypeError, AttributeError, InvalidRequest: it is no choice of the
            images of a job with this request.
    """
    if stored is None:
        return None
    choice = Choice.from_stored(stored)
    choice.applied_to(request)
    is_sound = (
        request.stop_after is not None
        and 0 < len(choice.indices) == len(set(choice.indices))
        and all(type(index) is int and 0 <= index < request.n for index in choice.indices)
        and choice.changes.keys() <= _CHANGEABLE
    )
    if not is_sound:
        raise ValueError("choice")
    return choice


def _is_replaced(values: Mapping[str, Any], job_id: str, n: int) -> bool:
    """Return True if these can be the columns of a composition that another one replaced."""
    index, preview = values["index"], values["preview"]
    return (
        values.keys() == set(REPLACED_COLUMNS)
        and type(index) is int
        and 0 <= index < n
        and re.fullmatch(ID, values["latent_id"]) is not None
        and all(type(values[name]) is int and 0 <= values[name] <= MAX_SEED for name in SEEDS)
        and values["latent_use"] in (None, *get_args(LatentUse))
        and (preview is None or _is_preview_of({"job_id": job_id, **values}))
    )


def _is_rejection(one: Rejection, n: int) -> bool:
    """Return True if this can be a composition that a checker rejected."""
    return (
        type(one.index) is int
        and 0 <= one.index < n
        and all(type(seed) is int and 0 <= seed <= MAX_SEED for seed in one.seeds)
        and _are_texts([one.rule, one.part])
        and len(one.rule) <= MAX_RULE_CHARS
    )


def _is_preview_of(image: Mapping[str, Any]) -> bool:
    """Return True if the name of a composition's preview is one that its image can have."""
    preview_key_from_name(image["job_id"], image["preview"])
    return str(image["preview"]).startswith(f"{image['index']}-")


def _are_texts(values: Any) -> bool:
    """Return True if the value is a list of texts (or None) that a database can store."""
    return isinstance(values, list) and all(
        value is None or (isinstance(value, str) and "\0" not in value) for value in values
    )


def _times(job: dict[str, Any]) -> tuple[datetime | None, ...]:
    return job["created_at"], job["started_at"], job["finished_at"]


def _are_of_one_job(*times: datetime | None) -> bool:
    """Return True if all times can be those of one past job."""
    known = [at for at in times if at is not None]
    return max(known) - min(known) <= _LONGEST_JOB and max(known) <= utc_now() + _CLOCKS_DIFFER
