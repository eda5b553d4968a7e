"""Exports and imports, between both kinds of database and store."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from cascade_core.checkpoints.checkpoint import Checkpoint
from cascade_core.errors import InvalidRequest
from cascade_core.families.spec import Family
from cascade_core.families.stable_cascade import STABLE_CASCADE
from serve.gateway.events.event_hub import EventHub
from serve.maintenance import archive
from serve.maintenance.backup import BackupReport, export_jobs, import_jobs, is_entry
from serve.storage.blobs.blob_keys import image_key, latent_key
from serve.storage.blobs.blob_store import BlobStore
from serve.storage.database import Database
from serve.storage.job_store import add_costs
from serve.storage.records import NewJob
from serve.storage.schema.tables import images, jobs, latents
from tests.ray.families.four_stages import FOUR_STAGES
from tests.serve.fake_jobs_client import FakeJobsClient
from tests.serve.maintenance.conftest import Stores
from tests.serve.recorded_jobs import body
from tests.serve.served import SERVED, WITHOUT_LATENTS, served

JobMaker = Callable[..., NewJob]


@pytest.fixture
def database_url(new_database_url: Callable[[str], str]) -> str:
    """Where to: PostgreSQL and S3."""
    return new_database_url("postgresql")


@pytest.fixture
def blobs(new_blob_url: Callable[[str], str]) -> BlobStore:
    return BlobStore(new_blob_url("s3"))


async def fill(stores: Stores, checkpoint: Checkpoint, make_job: JobMaker) -> list[NewJob]:
    """Make a job of two images with one deleted, its variation, a failed job and an open one."""
    database, blobs = stores
    fake_jobs = FakeJobsClient(database, blobs, checkpoint)
    first = make_job(n=2, user="ann", client_state={"channel": "1"}, prompt="naïve \U0001f3a8")
    variation = make_job(kind="vary_details", latent_id=first.images[0].latent_id, format="webp")
    failed, still_open = make_job(), make_job()
    for job in (first, variation, failed, still_open):
        database.jobs.insert(job)
    for job in (first, variation):
        for image in job.images:
            await fake_jobs.make_image(job.id, image.index)
        database.jobs.finish(job.id, "succeeded")
    database.jobs.finish(failed.id, "failed", {"code": "internal", "message": "no"})
    database.images.delete(first.images[1].id)
    return [first, variation, failed, still_open]


async def export(stores: Stores, path: Path) -> BackupReport:
    with archive.writing(path) as write:
        return await export_jobs(*stores, write)


def rows(database: Database) -> dict[str, list[Any]]:
    """Return all rows, but for what tells a repeated request from a new one."""
    left_out = {"idempotency_key", "body_digest"}
    found = {}
    with database.reading() as connection:
        for table in (jobs, images, latents):
            listed = connection.execute(select(table).order_by(table.c.id)).mappings()
            found[table.name] = [
                {name: value for name, value in row.items() if name not in left_out}
                for row in listed
            ]
    return found


async def everything(blobs: BlobStore) -> dict[str, bytes]:
    keys = []
    for folder in ("images", "latents"):
        async for chunk in blobs.list_folder(folder):
            keys += [info.key for info in chunk]
    return {key: await blobs.get(key) for key in keys}


def without(found: dict[str, list[Any]], job: NewJob) -> dict[str, list[Any]]:
    return {
        name: [row for row in listed if job.id not in (row["id"], row.get("job_id"))]
        for name, listed in found.items()
    }


async def test_all_comes_through_postgresql_and_s3_and_back_unchanged(
    tmp_path: Path,
    new_stores: Callable[[str, str], Stores],
    database: Database,
    blobs: BlobStore,
    checkpoint: Checkpoint,
    make_job: JobMaker,
) -> None:
    here, back = new_stores("sqlite", "folder"), new_stores("sqlite", "folder")
    made = await fill(here, checkpoint, make_job)
    exported = await export(here, tmp_path / "there")
    assert (exported.jobs, exported.files, exported.missing) == (3, 3, [])
    added = await import_jobs(
        database, blobs, SERVED, archive.reading(tmp_path / "there", is_entry)
    )
    assert added == exported
    await export((database, blobs), tmp_path / "back.tar")
    await import_jobs(*back, SERVED, archive.reading(tmp_path / "back.tar", is_entry))

    assert rows(database) == rows(back[0]) == without(rows(here[0]), made[-1])
    first, variation = made[:2]
    kept = {
        image_key(first.images[0].id, "png"),
        image_key(variation.images[0].id, "webp"),
        latent_key(first.images[0].latent_id),
    }
    bytes_here = {key: data for key, data in (await everything(here[1])).items() if key in kept}
    assert await everything(blobs) == await everything(back[1]) == bytes_here
    assert bytes_here.keys() == kept


async def test_a_variation_comes_through_with_latents_of_its_own(
    tmp_path: Path,
    new_stores: Callable[[str, str], Stores],
    checkpoint: Checkpoint,
    make_job: JobMaker,
) -> None:
    here, back = new_stores("sqlite", "folder"), new_stores("sqlite", "folder")
    fake_jobs = FakeJobsClient(*here, checkpoint)
    first = make_job()
    latent_id = first.images[0].latent_id
    variation = make_job(kind="vary", latent_id=latent_id, strength=0.7, n=2)
    for job in (first, variation):
        here[0].jobs.insert(job)
        for image in job.images:
            await fake_jobs.make_image(job.id, image.index)
        here[0].jobs.finish(job.id, "succeeded")
    await export(here, tmp_path / "all")
    await import_jobs(*back, SERVED, archive.reading(tmp_path / "all", is_entry))

    assert rows(back[0]) == rows(here[0])
    assert await everything(back[1]) == await everything(here[1])
    assert len({row["id"] for row in rows(back[0])["latents"]}) == 3


@pytest.mark.parametrize("family", [FOUR_STAGES, STABLE_CASCADE], ids=lambda family: family.name)
async def test_a_job_of_another_family_keeps_the_seconds_of_its_stages(
    new_stores: Callable[[str, str], Stores], make_job: JobMaker, family: Family
) -> None:
    here, there = new_stores("sqlite", "folder"), new_stores("sqlite", "folder")
    job = make_job(family=FOUR_STAGES)
    here[0].jobs.insert(job)
    with here[0].writing() as connection:
        for seconds, stage in enumerate(FOUR_STAGES.names, start=1):
            add_costs(connection, job.id, {stage: seconds})
    here[0].jobs.finish(job.id, "succeeded")
    entries: list[tuple[str, bytes]] = []
    await export_jobs(*here, lambda name, data: entries.append((name, data)))
    await import_jobs(*there, served(family), entries)

    (row,), (original,) = rows(there[0])["jobs"], rows(here[0])["jobs"]
    assert list(row["cost"].items()) == [("c", 1), ("b", 2), ("touch", 3), ("a", 4)]
    expected = {"route": list(family.names), "work": family.work(job.request)}
    assert row == original | expected


@pytest.mark.parametrize("model", ["gone", None], ids=["a model that is gone", "the default"])
async def test_a_job_that_no_model_here_can_do_comes_with_its_picture_and_no_route(
    new_stores: Callable[[str, str], Stores],
    make_job: JobMaker,
    checkpoint: Checkpoint,
    model: str | None,
) -> None:
    here, there = new_stores("sqlite", "folder"), new_stores("sqlite", "folder")
    job = make_job(kind="vary_details", latent_id="LAT", model=model)
    here[0].jobs.insert(job)
    await FakeJobsClient(*here, checkpoint).make_image(job.id)
    here[0].jobs.finish(job.id, "succeeded")
    entries: list[tuple[str, bytes]] = []
    await export_jobs(*here, lambda name, data: entries.append((name, data)))
    moved = await import_jobs(*there, served(WITHOUT_LATENTS), entries)
    assert (moved.jobs, moved.files) == (1, 1)
    (row,) = rows(there[0])["jobs"]
    assert (row["model"], row["route"], row["work"]) == (model, [], 0.0)


async def test_importing_again_changes_nothing(
    tmp_path: Path,
    new_stores: Callable[[str, str], Stores],
    checkpoint: Checkpoint,
    make_job: JobMaker,
) -> None:
    here, there = new_stores("sqlite", "folder"), new_stores("sqlite", "folder")
    first = (await fill(here, checkpoint, make_job))[0]
    await export(here, tmp_path / "all.tar")
    await import_jobs(*there, SERVED, archive.reading(tmp_path / "all.tar", is_entry))
    there[0].images.delete(first.images[0].id)
    before = rows(there[0])
    moved = await import_jobs(*there, SERVED, archive.reading(tmp_path / "all.tar", is_entry))
    assert moved == BackupReport(known_jobs=3)
    assert rows(there[0]) == before


async def test_an_imported_picture_is_found_its_latent_varied_and_its_job_followed(
    tmp_path: Path,
    new_stores: Callable[[str, str], Stores],
    checkpoint: Checkpoint,
    make_job: JobMaker,
    client: httpx.AsyncClient,
    database: Database,
    blobs: BlobStore,
) -> None:
    here = new_stores("sqlite", "folder")
    first = (await fill(here, checkpoint, make_job))[0]
    await export(here, tmp_path / "all")
    await import_jobs(database, blobs, SERVED, archive.reading(tmp_path / "all", is_entry))

    latent_id = first.images[0].latent_id
    body = {"kind": "vary_details", "latent_id": latent_id}
    answer = await client.post("/v1/jobs", json=body)
    assert answer.status_code == 202, answer.text
    assert answer.json()["request"]["prompt"] == first.request.prompt
    assert (await client.get(f"/v1/latents/{latent_id}")).content == b"latent bytes"
    listed = (await client.get("/v1/library", params={"q": first.request.prompt})).json()["items"]
    assert first.images[0].id in {item["id"] for item in listed}
    hub = EventHub(database)
    assert [event.type async for event in hub.follow(first.id)] == ["succeeded"]
    await hub.close()


async def test_lineage_comes_with_an_archive_also_if_a_variation_comes_before_its_original(
    new_stores: Callable[[str, str], Stores],
    checkpoint: Checkpoint,
    make_job: JobMaker,
    client: httpx.AsyncClient,
    database: Database,
    blobs: BlobStore,
) -> None:
    here = new_stores("sqlite", "folder")
    first, variation, *_ = await fill(here, checkpoint, make_job)
    entries: list[tuple[str, bytes]] = []
    await export_jobs(*here, lambda name, data: entries.append((name, data)))
    of_first = [entry for entry in entries if entry[0].startswith(f"jobs/{first.id}/")]
    reordered = [entry for entry in entries if entry not in of_first] + of_first
    await import_jobs(database, blobs, SERVED, reordered)

    original_id, variation_id = first.images[0].id, variation.images[0].id
    (child,) = (await client.get(f"/v1/images/{original_id}/lineage")).json()["children"]
    assert (child["image_id"], child["operation"]) == (variation_id, "vary_details")
    (image,) = (await client.get(f"/v1/jobs/{variation.id}")).json()["images"]
    assert image["derived_from"]["image_id"] == original_id


async def test_a_lost_file_is_named_and_the_rest_exported(
    tmp_path: Path,
    new_stores: Callable[[str, str], Stores],
    checkpoint: Checkpoint,
    make_job: JobMaker,
) -> None:
    here = new_stores("sqlite", "folder")
    first = (await fill(here, checkpoint, make_job))[0]
    lost = image_key(first.images[0].id, "png")
    await here[1].delete(lost)
    moved = await export(here, tmp_path / "all")
    assert (moved.jobs, moved.files, moved.missing) == (3, 2, [lost])


@pytest.mark.parametrize(
    "entries",
    [
        [],
        [("jobs/J/rows.json", b"{}")],
        [("cascade.json", b"{}")],
        [("cascade.json", b"nonsense")],
        [("cascade.json", b'{"format": 2}')],
        [("cascade.json", b'{"format": 1}'), ("jobs/J/rows.json", b"[]")],
        [("cascade.json", b'{"format": 1}'), ("jobs/J/rows.json", b'{"job": [{"id": "J"}]}')],
        [
            ("cascade.json", b'{"format": 1}'),
            ("jobs/J/rows.json", b'{"job": [{"id": "J", "new": 1}], "images": [], "latents": []}'),
        ],
    ],
)
async def test_what_is_no_export_or_a_later_one_is_refused(
    new_stores: Callable[[str, str], Stores], entries: list[tuple[str, bytes]]
) -> None:
    there = new_stores("sqlite", "folder")
    with pytest.raises(InvalidRequest):
        await import_jobs(*there, SERVED, entries)
    assert rows(there[0])["jobs"] == []


async def test_names_that_are_not_ours_are_not_stored(
    new_stores: Callable[[str, str], Stores],
) -> None:
    there = new_stores("sqlite", "folder")
    entries = [("cascade.json", json.dumps({"format": 1}).encode())]
    entries += [
        (name, b"x")
        for name in (
            "jobs/J/images/../../x.png",
            "README",
            "jobs/J/previews/a.webp",
            "images/a.png",
        )
    ]
    assert await import_jobs(*there, SERVED, entries) == BackupReport()
    assert await everything(there[1]) == {}


def test_a_torn_tar_file_is_refused(tmp_path: Path) -> None:
    with archive.writing(tmp_path / "all.tar") as write:
        write("cascade.json", b"x" * 10_000)
    whole = (tmp_path / "all.tar").read_bytes()
    for torn in (b"", whole[:5_000], b"no tar at all"):
        (tmp_path / "torn.tar").write_bytes(torn)
        with pytest.raises(InvalidRequest, match=r"torn\.tar"):
            list(archive.reading(tmp_path / "torn.tar", is_entry))


def break_off(path: Path) -> None:
    with archive.writing(path) as write:
        write("cascade.json", b"x")
        raise RuntimeError


def test_a_tar_file_appears_only_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "all.tar"
    with pytest.raises(RuntimeError):
        break_off(path)
    assert not path.exists()
    with archive.writing(path) as write:
        write("cascade.json", b"x")
        assert not path.exists()
    assert tarfile.is_tarfile(path)


async def test_an_archive_of_the_release_before_is_imported(
    new_stores: Callable[[str, str], Stores], checkpoint: Checkpoint, make_job: JobMaker
) -> None:
    here, there = new_stores("sqlite", "folder"), new_stores("sqlite", "folder")
    made = (await fill(here, checkpoint, make_job))[:3]
    entries: list[tuple[str, bytes]] = []
    await export_jobs(*here, lambda name, data: entries.append((name, data)))

    await import_jobs(*there, SERVED, [as_before(*entry) for entry in entries])

    for job in made:
        assert body(there[0], job.id) == body(here[0], job.id)


def as_before(name: str, data: bytes) -> tuple[str, bytes]:
    """Return an entry as the release wrote it that knew no drafts, series and uploads."""
    if not name.endswith("rows.json"):
        return name, data
    found = json.loads(data)
    for row in (*found["job"], *found["images"], *found["latents"]):
        for column in ("choice", "preview", "redos", "redo_count"):
            row.pop(column, None)
        for field in ("stop_after", "strength", "variants", "image"):
            row.get("request", {}).pop(field, None)
    return name, json.dumps(found).encode()
