"""Exports and imports of jobs that stopped at their compositions."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from cascade_core.checkpoints.checkpoint import Checkpoint
from cascade_core.errors import InvalidRequest
from serve.maintenance import archive
from serve.maintenance.backup import export_jobs, import_jobs, is_entry
from serve.storage.blobs.blob_keys import latent_key
from serve.storage.blobs.blob_store import BlobStore
from serve.storage.database import Database
from serve.storage.job_parts.choice import Choice
from serve.storage.records import JobIdentity, NewJob, utc_now
from tests.serve.fake_jobs_client import PREVIEW, FakeJobsClient
from tests.serve.maintenance.conftest import Stores
from tests.serve.recorded_jobs import body
from tests.serve.served import SERVED

JobMaker = Callable[..., NewJob]


async def make_drafts(here: Stores, checkpoint: Checkpoint, make_job: JobMaker) -> list[NewJob]:
    """Make a draft that ended, one of which one image was finished, and one that waits."""
    database, blobs = here
    fake_jobs = FakeJobsClient(database, blobs, checkpoint)
    ended, continued, waiting = (make_job(n=2, stop_after="c") for _ in range(3))
    for job in (ended, continued, waiting):
        database.jobs.insert(job)
        await fake_jobs.draft(job.id)
    database.jobs.finish(ended.id, "succeeded", if_in=["waiting"])
    choice = Choice((1,), utc_now(), {"decoder_steps": 4})
    identity = JobIdentity("01", "key", "body")
    await fake_jobs.continue_job(continued.id, continued.owner, choice, identity)
    await fake_jobs.make_image(continued.id, 1)
    database.jobs.finish(continued.id, "succeeded")
    return [ended, continued, waiting]


async def test_drafts_come_with_their_compositions_and_choices_and_waiting_ones_not_at_all(
    tmp_path: Path,
    new_stores: Callable[[str, str], Stores],
    checkpoint: Checkpoint,
    make_job: JobMaker,
    client: httpx.AsyncClient,
    database: Database,
    blobs: BlobStore,
) -> None:
    here = new_stores("sqlite", "folder")
    ended, continued, waiting = await make_drafts(here, checkpoint, make_job)
    path = tmp_path / "all.tar"
    with archive.writing(path) as write:
        assert (await export_jobs(*here, write)).missing == []
    await import_jobs(database, blobs, SERVED, archive.reading(path, is_entry))

    assert database.jobs.get(waiting.id) is None
    for job in (ended, continued):
        shown = body(database, job.id)
        assert shown == body(here[0], job.id)
        for one in shown["compositions"]:
            assert await blobs.get(latent_key(one["latent_id"]))
            assert (await client.get(one["preview_url"])).content == PREVIEW
    assert body(database, continued.id)["continued"]["indices"] == [1]
    assert b'"key"' not in path.read_bytes()  # of the request to continue


async def make_redone(here: Stores, checkpoint: Checkpoint, make_job: JobMaker) -> NewJob:
    """Make a draft that ended after its second image was composed anew."""
    fake_jobs, job = FakeJobsClient(*here, checkpoint), make_job(n=2, stop_after="c")
    here[0].jobs.insert(job)
    await fake_jobs.draft(job.id)
    await fake_jobs.redo_job(job.id, job.owner, [1], JobIdentity("01", "key", "body"))
    await fake_jobs.make_composition(job.id, 1)
    here[0].jobs.finish(job.id, "succeeded")
    return job


async def test_a_composition_that_was_made_anew_comes_with_the_one_before_it(
    new_stores: Callable[[str, str], Stores],
    checkpoint: Checkpoint,
    make_job: JobMaker,
    client: httpx.AsyncClient,
    database: Database,
    blobs: BlobStore,
) -> None:
    here = new_stores("sqlite", "folder")
    job = await make_redone(here, checkpoint, make_job)
    entries: list[tuple[str, bytes]] = []
    await export_jobs(*here, lambda name, data: entries.append((name, data)))
    await import_jobs(database, blobs, SERVED, entries)

    shown = body(database, job.id)
    assert shown == body(here[0], job.id)
    [redo] = shown["redone"]
    before = [*shown["compositions"], *redo["compositions"]]
    assert len({one["latent_id"] for one in before}) == 3
    for one in before:
        assert await blobs.get(latent_key(one["latent_id"]))
        assert (await client.get(one["preview_url"])).content == PREVIEW
    imported = database.jobs.get(job.id)
    assert imported is not None
    assert [image.redo_count for image in imported.images] == [0, 1]
    assert b"key" not in dict(entries)[f"jobs/{job.id}/rows.json"]  # of the request to redo

    deleted = database.images.delete(job.images[1].id, if_made=False)
    assert deleted is not None
    urls = {one["preview_url"] for one in before if one["index"] == 1}
    assert {f"/v1/jobs/{job.id}/previews/{name}" for name in deleted.preview_names} == urls


@pytest.mark.parametrize(
    ("change", "is_sound"),
    [
        ({}, True),
        ({"preview": None}, True),
        ({"index": 2}, False),
        ({"index": "0"}, False),
        ({"latent_id": "../x"}, False),
        ({"latent_id": None}, False),
        ({"seed": -1}, False),
        ({"seed": 1.0}, False),
        ({"latent_use": "stolen"}, False),
        ({"preview": "0-c-20.webp"}, False),
        ({"preview": "../../x"}, False),
        ({"format": "png"}, False),
    ],
)
async def test_what_was_composed_anew_is_believed_only_if_the_draft_could_have_been_so(
    new_stores: Callable[[str, str], Stores],
    checkpoint: Checkpoint,
    make_job: JobMaker,
    change: dict[str, Any],
    is_sound: bool,
) -> None:
    here, there = new_stores("sqlite", "folder"), new_stores("sqlite", "folder")
    job = await make_redone(here, checkpoint, make_job)
    entries: list[tuple[str, bytes]] = []
    await export_jobs(*here, lambda name, data: entries.append((name, data)))
    name = f"jobs/{job.id}/rows.json"
    rows = json.loads(dict(entries)[name])
    rows["job"][0]["redos"][0]["replaced"][0] |= change
    imported = import_jobs(*there, SERVED, [entries[0], (name, json.dumps(rows).encode())])
    if is_sound:
        assert (await imported).jobs == 1
        return
    with pytest.raises(InvalidRequest, match=r"rows\.json in the archive is damaged"):
        await imported


async def test_a_deleted_picture_of_an_imported_draft_takes_its_preview_along(
    new_stores: Callable[[str, str], Stores],
    checkpoint: Checkpoint,
    make_job: JobMaker,
    client: httpx.AsyncClient,
    database: Database,
    blobs: BlobStore,
) -> None:
    here = new_stores("sqlite", "folder")
    continued = (await make_drafts(here, checkpoint, make_job))[1]
    entries: list[tuple[str, bytes]] = []
    await export_jobs(*here, lambda name, data: entries.append((name, data)))
    await import_jobs(database, blobs, SERVED, entries)
    url = body(database, continued.id)["compositions"][1]["preview_url"]

    await client.delete(f"/v1/images/{continued.images[1].id}")

    assert (await client.get(url)).status_code == 404


@pytest.mark.parametrize(
    ("change", "is_sound"),
    [
        ({}, True),
        ({"changes": {"decoder_steps": 4}}, True),
        ({"indices": []}, False),
        ({"indices": [0, 0]}, False),
        ({"indices": [2]}, False),
        ({"indices": [False]}, False),
        ({"indices": None}, False),
        ({"at": "2026-01-01T00:00:00"}, False),
        ({"at": "9999-01-01T00:00:00+00:00"}, False),
        ({"changes": {"decoder_steps": 10**9}}, False),
        ({"changes": {"prompt": "x"}}, False),
        ({"changes": {"unknown": 1}}, False),
    ],
)
async def test_a_choice_is_believed_only_if_the_draft_could_have_been_continued_so(
    new_stores: Callable[[str, str], Stores],
    checkpoint: Checkpoint,
    make_job: JobMaker,
    change: dict[str, Any],
    is_sound: bool,
) -> None:
    here, there = new_stores("sqlite", "folder"), new_stores("sqlite", "folder")
    continued = (await make_drafts(here, checkpoint, make_job))[1]
    entries: list[tuple[str, bytes]] = []
    await export_jobs(*here, lambda name, data: entries.append((name, data)))
    name = f"jobs/{continued.id}/rows.json"
    rows = json.loads(dict(entries)[name])
    rows["job"][0]["choice"] |= change
    imported = import_jobs(*there, SERVED, [entries[0], (name, json.dumps(rows).encode())])
    if is_sound:
        assert (await imported).jobs == 1
        return
    with pytest.raises(InvalidRequest, match=r"rows\.json in the archive is damaged"):
        await imported
