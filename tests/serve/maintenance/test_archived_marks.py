"""Stars, ratings and tags come through an archive."""

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
from serve.maintenance import archive
from serve.maintenance.backup import export_jobs, import_jobs, is_entry
from serve.storage.library.actions import putting_on
from serve.storage.library.marks import Marks
from serve.storage.library.query import LibraryQuery
from serve.storage.lineage import Viewpoint
from serve.storage.records import JobOwner, NewJob
from tests.serve.fake_jobs_client import FakeJobsClient
from tests.serve.maintenance.conftest import Stores
from tests.serve.served import SERVED

JobMaker = Callable[..., NewJob]
EVERYTHING = Viewpoint(None, None)
NOTED = Marks(star=True, rating=4, tags=("shoe", "summer-2026"))


@pytest_asyncio.fixture
async def exported(
    tmp_path: Path,
    new_stores: Callable[[str, str], Stores],
    checkpoint: Checkpoint,
    make_job: JobMaker,
) -> Path:
    """An archive of a job with two pictures, of which one is marked and on a board."""
    database, blobs = stores = new_stores("sqlite", "folder")
    fake_jobs = FakeJobsClient(*stores, checkpoint)
    job = make_job(n=2)
    database.jobs.insert(job)
    for image in job.images:
        await fake_jobs.make_image(job.id, image.index)
    database.jobs.finish(job.id, "succeeded")
    database.library.change_marks(EVERYTHING, job.images[0].id, lambda _: NOTED)
    board = database.boards.create(JobOwner("k1", None), "Summer")
    database.pictures.change(EVERYTHING, [job.images[0].id], putting_on(board.id))
    folder = tmp_path / "archive"
    with archive.writing(folder) as write:
        await export_jobs(database, blobs, write)
    return folder


async def imported(stores: Stores, folder: Path) -> list[Marks]:
    """Return the marks of the pictures after an import, by index."""
    await import_jobs(*stores, SERVED, archive.reading(folder, is_entry))
    page = stores[0].library.page(EVERYTHING, LibraryQuery(), None, 10)
    return [item.marks for item in reversed(page)]


@contextmanager
def changed(folder: Path) -> Iterator[dict[str, Any]]:
    """Change the rows of the job in an archive."""
    (file,) = folder.glob("jobs/*/rows.json")
    rows = json.loads(file.read_text())
    yield rows
    file.write_text(json.dumps(rows))


async def test_marks_come_back_with_their_pictures_and_are_found(
    exported: Path, new_stores: Callable[[str, str], Stores]
) -> None:
    stores = new_stores("postgresql", "folder")
    assert await imported(stores, exported) == [NOTED, Marks()]
    found = LibraryQuery.parse("star:yes rating:>=4 tag:shoe")
    assert len(stores[0].library.page(EVERYTHING, found, None, 10)) == 1
    (board,) = stores[0].boards.all(Viewpoint("k1", None))
    assert (board.title, board.count) == ("Summer", 1)


async def test_an_archive_of_an_earlier_release_has_no_marks(
    exported: Path, new_stores: Callable[[str, str], Stores]
) -> None:
    with changed(exported) as rows:
        del rows["marks"]
    assert await imported(new_stores("sqlite", "folder"), exported) == [Marks(), Marks()]


@pytest.mark.parametrize(
    "change",
    [
        {"id": "OTHER"},
        {"star": 1},
        {"rating": 6},
        {"rating": "4"},
        {"tags": ["Shoe"]},
        {"tags": ["a\nb"]},
        {"tags": [f"t{number}" for number in range(21)]},
        {"tags": [["shoe"]]},
        {"owner": "eve"},
        {"boards": ["a b"]},
        {"boards": 7},
    ],
)
async def test_marks_that_no_picture_can_have_are_refused(
    exported: Path, new_stores: Callable[[str, str], Stores], change: dict[str, Any]
) -> None:
    with changed(exported) as rows:
        rows["marks"][0] |= change
    with pytest.raises(InvalidRequest, match="damaged"):
        await imported(new_stores("sqlite", "folder"), exported)


@pytest.mark.parametrize(
    "change", [{"title": ""}, {"title": "a\nb"}, {"title": "x" * 81}, {"id": "a/b"}, {"more": 1}]
)
async def test_boards_that_cannot_be_are_refused(
    exported: Path, new_stores: Callable[[str, str], Stores], change: dict[str, Any]
) -> None:
    file = exported / "cascade_boards.json"
    boards = json.loads(file.read_text())
    boards[0] |= change
    file.write_text(json.dumps(boards))
    with pytest.raises(InvalidRequest, match="damaged"):
        await imported(new_stores("sqlite", "folder"), exported)
