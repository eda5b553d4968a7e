"""States of pictures, comments on them and the audit log come through an archive."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from cascade_core.checkpoints.checkpoint import Checkpoint
from cascade_core.errors import InvalidRequest
from serve.maintenance import archive, archived_audit
from serve.maintenance.backup import BackupReport, export_jobs, import_jobs, is_entry
from serve.storage.assets.asset import Actor
from serve.storage.database import Database
from serve.storage.library.query import LibraryQuery
from serve.storage.lineage import Viewpoint
from serve.storage.schema.asset_states import ACTIONS, ActionName
from tests.serve.conftest import JobMaker
from tests.serve.fake_jobs_client import FakeJobsClient
from tests.serve.maintenance.conftest import Stores
from tests.serve.served import SERVED

NewStores = Callable[[str, str], Stores]
ANN, BEA = Actor("key-ann", "ann"), Actor("key-bot", "bot", "discord:1")
SHA = "a" * 64


def do(database: Database, image_id: str, name: ActionName, actor: Actor, note: str = "") -> None:
    database.assets.change(image_id, ACTIONS[name], actor, sha256=SHA, note=note)


@pytest.fixture(autouse=True)
def _short_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archived_audit, "_PAGE", 2)


@pytest_asyncio.fixture
async def source(new_stores: NewStores, checkpoint: Checkpoint, make_job: JobMaker) -> Stores:
    """A job with an approved picture, which has a comment, and a draft."""
    database, _ = stores = new_stores("sqlite", "folder")
    fake_jobs = FakeJobsClient(*stores, checkpoint)
    job = make_job(n=2)
    database.jobs.insert(job)
    for image in job.images:
        await fake_jobs.make_image(job.id, image.index)
    database.jobs.finish(job.id, "succeeded")
    picture = job.images[0].id
    do(database, picture, "submit", ANN)
    do(database, picture, "reject", BEA, "the sun is missing")
    do(database, picture, "submit", ANN)
    do(database, picture, "approve", BEA, "with the sun now")
    database.asset_comments.add(picture, BEA, "here", (0.5, 1))
    return stores


async def exported(stores: Stores, folder: Path) -> Path:
    with archive.writing(folder) as write:
        await export_jobs(*stores, write)
    return folder


async def imported(stores: Stores, folder: Path) -> BackupReport:
    return await import_jobs(*stores, SERVED, archive.reading(folder, is_entry))


def approved_id(database: Database) -> str:
    found = LibraryQuery.parse("state:approved")
    (item,) = database.library.page(Viewpoint(None, None), found, None, 10)
    return item.id


@contextmanager
def changed(file: Path) -> Iterator[Any]:
    rows = json.loads(file.read_text())
    yield rows
    file.write_text(json.dumps(rows))


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_assets_come_back_with_comments_and_their_history_also_twice(
    source: Stores, tmp_path: Path, new_stores: NewStores, kind: str
) -> None:
    folder = await exported(source, tmp_path / "archive")
    stores = new_stores(kind, "folder")
    for _ in range(2):
        assert not (await imported(stores, folder)).apart
    before, after = source[0], stores[0]
    image_id = approved_id(after)
    assert after.assets.get(image_id) == before.assets.get(image_id)
    assert after.asset_comments.of_asset(image_id) == before.asset_comments.of_asset(image_id)
    assert after.audit.of_asset(image_id) == before.audit.of_asset(image_id)
    assert after.audit.verify() == before.audit.verify()


async def test_a_service_goes_on_with_a_log_of_its_own_after_an_import(
    source: Stores, tmp_path: Path, new_stores: NewStores
) -> None:
    folder = await exported(source, tmp_path / "archive")
    stores = new_stores("sqlite", "folder")
    await imported(stores, folder)
    do(stores[0], approved_id(stores[0]), "publish", BEA)
    events = [(report.events, report.problem) for report in stores[0].audit.verify()]
    assert sorted(events) == [(1, ""), (4, "")]


async def test_an_older_copy_of_a_database_takes_the_events_that_it_lacks(
    source: Stores, tmp_path: Path, new_stores: NewStores
) -> None:
    folder = await exported(source, tmp_path / "archive")
    stores = new_stores("sqlite", "folder")
    await imported(stores, folder)
    do(source[0], approved_id(source[0]), "publish", BEA)
    assert not (await imported(stores, await exported(source, tmp_path / "later"))).apart
    assert stores[0].audit.verify() == source[0].audit.verify()


async def test_events_are_left_out_and_named_where_the_log_went_another_way(
    source: Stores, tmp_path: Path
) -> None:
    """As after a copy of yesterday's database was taken up again."""
    do(source[0], approved_id(source[0]), "publish", BEA)
    folder = await exported(source, tmp_path / "archive")
    with changed(folder / "cascade_audit_000003.json") as events:
        events[0]["action"] = "archive"
        stored = archived_audit.from_archive(archived_audit.audit_events, events[0])
        events[0]["hash"] = archived_audit.digest(stored)
    before = source[0].audit.verify()
    assert (await imported(source, folder)).apart == {before[0].chain}
    assert source[0].audit.verify() == before


async def test_notes_that_were_erased_are_not_in_the_archive(
    source: Stores, tmp_path: Path
) -> None:
    image_id = approved_id(source[0])
    source[0].assets.release(image_id, BEA)
    folder = await exported(source, tmp_path / "archive")
    text = "".join(file.read_text() for file in folder.rglob("*.json"))
    assert "the sun" not in text
    assert "here" not in text
    assert '"purge"' in text


async def test_an_archive_of_an_earlier_release_has_no_assets(
    source: Stores, tmp_path: Path, new_stores: NewStores
) -> None:
    folder = await exported(source, tmp_path / "archive")
    for file in folder.glob("cascade_audit_*"):
        file.unlink()
    (file,) = folder.glob("jobs/*/rows.json")
    with changed(file) as rows:
        del rows["assets"], rows["comments"]
    stores = new_stores("sqlite", "folder")
    await imported(stores, folder)
    assert stores[0].audit.verify() == []
    assert len(stores[0].library.page(Viewpoint(None, None), LibraryQuery(), None, 10)) == 2


@pytest.mark.parametrize(
    ("table", "change"),
    [
        ("assets", {"image_id": "OTHER"}),
        ("assets", {"state": "perfect"}),
        ("assets", {"version": 0}),
        ("assets", {"sha256": "A" * 64}),
        ("assets", {"submitted_by": {"key": "ann"}}),
        ("assets", {"submitted_by": "ann"}),
        ("assets", {"decided_by": {"key_id": 1, "key": "ann", "user": None}}),
        ("assets", {"decided_by": {"key_id": None, "key": "a\nb", "user": None}}),
        ("assets", {"more": 1}),
        ("comments", {"author": None}),
        ("comments", {"x": 1.1}),
        ("comments", {"y": None}),
        ("comments", {"id": "../up"}),
        ("comments", {"text": "\0"}),
    ],
)
async def test_assets_that_cannot_be_are_refused(
    source: Stores, tmp_path: Path, new_stores: NewStores, table: str, change: dict[str, Any]
) -> None:
    folder = await exported(source, tmp_path / "archive")
    (file,) = folder.glob("jobs/*/rows.json")
    with changed(file) as rows:
        rows[table][0] |= change
    with pytest.raises(InvalidRequest, match="damaged"):
        await imported(new_stores("sqlite", "folder"), folder)


@pytest.mark.parametrize(
    "change",
    [
        {"action": "approve"},
        {"hash": "0" * 64},
        {"number": 0},
        {"details": []},
        {"note": "the moon is missing"},
        {"note": 7},
    ],
)
async def test_events_that_were_changed_are_refused(
    source: Stores, tmp_path: Path, new_stores: NewStores, change: dict[str, Any]
) -> None:
    folder = await exported(source, tmp_path / "archive")
    with changed(folder / "cascade_audit_000001.json") as events:
        events[1] |= change
    with pytest.raises(InvalidRequest, match="damaged"):
        await imported(new_stores("sqlite", "folder"), folder)
