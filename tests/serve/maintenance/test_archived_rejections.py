"""Exports and imports of jobs of which a checker rejected compositions."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import pytest

from cascade_core.checkpoints.checkpoint import Checkpoint
from cascade_core.errors import InvalidRequest
from serve.maintenance.backup import export_jobs, import_jobs
from serve.storage.job_parts.redo import columns_anew
from serve.storage.job_parts.rejection import Rejection
from serve.storage.records import NewJob
from tests.serve.fake_jobs_client import FakeJobsClient
from tests.serve.maintenance.conftest import Stores
from tests.serve.recorded_jobs import body
from tests.serve.served import SERVED

JobMaker = Callable[..., NewJob]


async def exported(here: Stores, checkpoint: Checkpoint, job: NewJob) -> list[tuple[str, bytes]]:
    """Record a job whose first composition was rejected, and export it."""
    database, _ = here
    database.jobs.insert(job)
    row = database.jobs.get(job.id)
    assert row is not None
    image = row.images[0]
    anew = replace(image, **columns_anew(asdict(image), 1, "another"))
    rejection = Rejection(0, "blank", image.seed, image.decoder_seed, "")
    assert database.images.reject_composition(image, anew, rejection)
    await FakeJobsClient(*here, checkpoint).make_image(job.id, 0)
    database.jobs.finish(job.id, "succeeded")
    entries: list[tuple[str, bytes]] = []
    await export_jobs(*here, lambda name, data: entries.append((name, data)))
    return entries


async def test_a_job_comes_with_what_a_checker_rejected(
    new_stores: Callable[[str, str], Stores], checkpoint: Checkpoint, make_job: JobMaker
) -> None:
    here, there = new_stores("sqlite", "folder"), new_stores("sqlite", "folder")
    job = make_job()
    await import_jobs(*there, SERVED, await exported(here, checkpoint, job))
    shown = body(there[0], job.id)
    assert shown == body(here[0], job.id)
    assert shown["images"][0]["seed"] == 8
    assert [one["seed"] for one in shown["rejected"]] == [7]


@pytest.mark.parametrize(
    "change",
    [
        {"index": 1},
        {"index": "0"},
        {"seed": -1},
        {"decoder_seed": 1.5},
        {"rule": None},
        {"rule": "x" * 65},
        {"part": 1},
        {"other": 1},
    ],
)
async def test_what_no_checker_can_have_rejected_is_damage(
    new_stores: Callable[[str, str], Stores],
    checkpoint: Checkpoint,
    make_job: JobMaker,
    change: dict[str, Any],
) -> None:
    here, there = new_stores("sqlite", "folder"), new_stores("sqlite", "folder")
    job = make_job()
    entries = await exported(here, checkpoint, job)
    name = f"jobs/{job.id}/rows.json"
    rows = json.loads(dict(entries)[name])
    rows["job"][0]["rejections"][0] |= change
    entries = [entries[0], (name, json.dumps(rows).encode())]
    with pytest.raises(InvalidRequest, match=r"rows\.json in the archive is damaged"):
        await import_jobs(*there, SERVED, entries)
