"""Comparisons and their votes come through an archive."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cascade_core.errors import InvalidRequest
from serve.maintenance import archive
from serve.maintenance.backup import export_jobs, import_jobs, is_entry
from serve.storage.comparisons.comparison import Comparison
from serve.storage.records import JobIdentity, JobOwner, utc_now
from tests.serve.maintenance.conftest import Stores
from tests.serve.served import SERVED

NewStores = Callable[[str, str], Stores]
ULID = "01JXQ5W8T3M4N6P7R8S9T0V1W2"
MADE = Comparison(
    id=ULID,
    owner=JobOwner("k1", "ann"),
    created_at=utc_now(),
    prompt="a red circle",
    seed=7,
    n=2,
    settings=({}, {"model": "other"}),
    models=("demo", "other"),
)


REQUEST = {
    "prompt": "x",
    "seed": 1,
    "n": 1,
    "settings": [{}, {}],
    "models": ["demo", "other"],
}


@pytest.fixture
async def exported(tmp_path: Path, new_stores: NewStores) -> Path:
    database, blobs = new_stores("sqlite", "folder")
    database.comparisons.add(MADE, JobIdentity(ULID, "key", "digest"))
    database.comparisons.vote(ULID, 1, JobOwner("k1", "bob"), "left")
    folder = tmp_path / "archive"
    with archive.writing(folder) as write:
        await export_jobs(database, blobs, write)
    return folder


async def imported(stores: Stores, folder: Path) -> None:
    await import_jobs(*stores, SERVED, archive.reading(folder, is_entry))


async def test_comparisons_come_back_with_their_votes_also_twice(
    exported: Path, new_stores: NewStores
) -> None:
    stores = new_stores("postgresql", "folder")
    for _ in range(2):
        await imported(stores, exported)
    found = stores[0].comparisons.get(ULID)
    assert found == MADE
    assert stores[0].comparisons.votes([ULID]) == {ULID: {(1, "left"): 1}}
    assert "key" not in (exported / "cascade_comparisons.json").read_text().split('"')


async def test_an_archive_of_an_earlier_release_has_no_comparisons(
    exported: Path, new_stores: NewStores
) -> None:
    (exported / "cascade_comparisons.json").unlink()
    stores = new_stores("sqlite", "folder")
    await imported(stores, exported)
    assert stores[0].comparisons.get(ULID) is None


@pytest.mark.parametrize(
    ("table", "change"),
    [
        ("comparisons", {"id": "no-ulid"}),
        ("comparisons", {"more": 1}),
        ("comparisons", {"request": {}}),
        ("comparisons", {"request": REQUEST | {"prompt": 1}}),
        ("comparisons", {"request": REQUEST | {"settings": [{}] * 5, "models": ["x"] * 5}}),
        ("comparisons", {"request": REQUEST | {"settings": [1, 2]}}),
        ("comparisons", {"request": REQUEST | {"models": ["demo"]}}),
        ("comparisons", {"request": REQUEST | {"n": 10**9}}),
        ("votes", {"vote": "best"}),
        ("votes", {"pair": "0"}),
    ],
)
async def test_comparisons_that_cannot_be_are_refused(
    exported: Path, new_stores: NewStores, table: str, change: dict[str, Any]
) -> None:
    file = exported / "cascade_comparisons.json"
    rows = json.loads(file.read_text())
    rows[table][0] |= change
    file.write_text(json.dumps(rows))
    with pytest.raises(InvalidRequest, match="damaged"):
        await imported(new_stores("sqlite", "folder"), exported)
