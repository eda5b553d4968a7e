"""Archives that were made to harm: ``cascade import`` ends soon and believes nothing."""

from __future__ import annotations

import gzip
import io
import json
import math
import os
import tarfile
from collections.abc import Callable, Iterator
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import select

from cascade_core.checkpoints.checkpoint import Checkpoint
from cascade_core.errors import InvalidRequest
from cascade_core.families.stable_cascade import STABLE_CASCADE
from cascade_core.request import GenerationRequest
from serve.maintenance import archive
from serve.maintenance.backup import export_jobs, import_jobs, is_entry
from serve.storage.blobs.blob_store import BlobStore
from serve.storage.database import Database
from serve.storage.records import NewJob
from serve.storage.schema.tables import images, jobs
from tests.limits import HANG_S
from tests.serve.fake_jobs_client import FakeJobsClient
from tests.serve.served import SERVED

pytestmark = pytest.mark.timeout(HANG_S)

ABOUT = ("cascade.json", b'{"format": 1}')
PICTURE = "jobs/J/images/X.png"
Entries = list[tuple[str, bytes]]


@pytest.fixture
def there(new_database_url: Callable[[str], str]) -> Iterator[Database]:
    """The database that is imported into."""
    database = Database(new_database_url("sqlite"))
    yield database
    database.close()


@pytest.fixture
def store(new_blob_url: Callable[[str], str]) -> BlobStore:
    return BlobStore(new_blob_url("folder"))


def tar_of(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        about = tarfile.TarInfo(ABOUT[0])
        about.size = len(ABOUT[1])
        tar.addfile(about, io.BytesIO(ABOUT[1]))
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    return path


def link(kind: bytes, target: str, name: str = PICTURE) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info, b""


def read_all(path: Path) -> Entries:
    return list(archive.reading(path, is_entry))


def test_a_negative_size_does_not_read_for_ever(tmp_path: Path) -> None:
    header = bytearray(tarfile.TarInfo(PICTURE).tobuf(tarfile.GNU_FORMAT))
    header[124:136] = b"\xff" + (-512).to_bytes(11, "big", signed=True)
    header[148:156] = b"        "
    header[148:156] = b"%06o\0 " % sum(header)
    path = tar_of(tmp_path / "negative.tar")
    path.write_bytes(path.read_bytes()[:1024] + bytes(header) + bytes(1024))
    with pytest.raises(InvalidRequest, match=r"negative\.tar"):
        read_all(path)


@pytest.mark.parametrize("kind", [tarfile.LNKTYPE, tarfile.SYMTYPE])
@pytest.mark.parametrize("target", [PICTURE, "nowhere", "large", "/etc/passwd"])
def test_links_in_a_tar_file_are_refused(tmp_path: Path, kind: bytes, target: str) -> None:
    path = tar_of(tmp_path / "all.tar", link(kind, target), (tarfile.TarInfo("large"), b""))
    with pytest.raises(InvalidRequest, match="is not a plain file"):
        read_all(path)


def test_an_entry_that_is_too_large_is_refused_before_it_is_read(tmp_path: Path) -> None:
    info = tarfile.TarInfo(PICTURE)
    info.size = archive.MAX_ENTRY_BYTES + 1
    path = tmp_path / "all.tar"
    path.write_bytes(tar_of(path).read_bytes()[:1024] + info.tobuf())
    with pytest.raises(InvalidRequest, match="has more than"):
        read_all(path)
    large = tmp_path / "folder" / PICTURE
    large.parent.mkdir(parents=True)
    large.touch()
    os.truncate(large, archive.MAX_ENTRY_BYTES + 1)
    with pytest.raises(InvalidRequest, match="has more than"):
        read_all(tmp_path / "folder")


def test_a_compressed_file_that_calls_itself_tar_is_refused(tmp_path: Path) -> None:
    plain = tar_of(tmp_path / "plain.tar").read_bytes()
    (tmp_path / "all.tar").write_bytes(gzip.compress(plain))
    with pytest.raises(InvalidRequest, match="not a complete tar archive"):
        read_all(tmp_path / "all.tar")


def test_a_linked_file_in_a_folder_is_refused_and_a_linked_folder_not_entered(
    tmp_path: Path,
) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    folder = tmp_path / "all"
    (folder / "jobs" / "J" / "images").mkdir(parents=True)
    (folder / "cascade.json").write_bytes(ABOUT[1])
    (folder / "jobs" / "K").symlink_to(folder / "jobs" / "J")
    (folder / PICTURE).write_bytes(b"picture")
    assert read_all(folder) == [ABOUT, (PICTURE, b"picture")]
    (folder / PICTURE).unlink()
    (folder / PICTURE).symlink_to(secret)
    with pytest.raises(InvalidRequest, match="is not a plain file"):
        read_all(folder)


async def test_files_that_a_desktop_leaves_in_a_folder_or_tar_file_are_passed_over(
    tmp_path: Path, there: Database, store: BlobStore
) -> None:
    folder = tmp_path / "all"
    folder.mkdir()
    for name in (".DS_Store", "Thumbs.db", "zzz"):
        (folder / name).write_bytes(b"x")
    (folder / "aaa").symlink_to("nowhere")
    (folder / "cascade.json").write_bytes(ABOUT[1])
    assert (await import_jobs(there, store, SERVED, archive.reading(folder, is_entry))).jobs == 0
    path = tmp_path / "all.tar"
    with tarfile.open(path, "w") as tar:
        tar.add(folder, arcname=".")  # as `tar -cf all.tar .` names them: ./cascade.json
    assert read_all(path) == [ABOUT]


def test_an_export_that_fails_leaves_nothing_and_one_that_works_is_private(tmp_path: Path) -> None:
    def fail(path: Path) -> None:
        with archive.writing(path) as write:
            write(*ABOUT)
            raise OSError("the disk is full")

    before = os.umask(0o022)
    try:
        with pytest.raises(OSError, match="full"):
            fail(tmp_path / "all.tar")
        assert list(tmp_path.iterdir()) == []
        for name in ("all.tar", "new/folder"):
            with archive.writing(tmp_path / name) as write:
                write("jobs/J/rows.json", b"x")
    finally:
        os.umask(before)
    written = [tmp_path / "all.tar", *(tmp_path / "new").rglob("*")]
    assert {oct(path.stat().st_mode & 0o077) for path in written} == {oct(0)}


async def exported(
    checkpoint: Checkpoint, make_job: Callable[..., NewJob], url: str, store: BlobStore
) -> Entries:
    """Return the entries of one finished job of ann with an address to deliver to."""
    here = Database(url)
    state = {"inbox": "discord.1", "address": {"token": "geheim"}, "note": 1}
    job = make_job(user="ann", client_state=state)
    here.jobs.insert(job)
    await FakeJobsClient(here, store, checkpoint).make_image(job.id)
    here.jobs.finish(job.id, "succeeded")
    entries: Entries = []
    await export_jobs(here, store, lambda name, data: entries.append((name, data)))
    here.close()
    return entries


@pytest.fixture
async def entries(
    checkpoint: Checkpoint,
    make_job: Callable[..., NewJob],
    new_database_url: Callable[[str], str],
    new_blob_url: Callable[[str], str],
) -> Entries:
    here = BlobStore(new_blob_url("folder"))
    return await exported(checkpoint, make_job, new_database_url("sqlite"), here)


def changed(entries: Entries, table: str, change: dict[str, Any]) -> Entries:
    """Return the entries with other values in the first row of a table."""
    name, data = entries[-1]
    rows = json.loads(data)
    rows[table][0] |= change
    return [*entries[:-1], (name, json.dumps(rows).encode())]


async def test_neither_address_nor_token_leave_or_enter_a_deployment(
    entries: Entries, there: Database, store: BlobStore
) -> None:
    assert all(b"geheim" not in data for _, data in entries)
    hostile = {"inbox": "discord.1", "client_state": {"address": {"token": "x"}, "note": 1}}
    await import_jobs(there, store, SERVED, changed(entries, "job", hostile))
    with there.reading() as connection:
        (row,) = connection.execute(select(jobs)).mappings()
    assert (row["inbox"], row["client_state"]["note"]) == (None, 1)
    assert "address" not in row["client_state"]


@pytest.mark.parametrize(
    ("table", "change"),
    [
        ("job", {"state": "queued"}),
        ("job", {"state": "running"}),
        ("job", {"state": "other"}),
        ("job", {"kind": "shell"}),
        ("job", {"id": "../../x"}),
        ("job", {"id": "OTHER"}),
        ("job", {"request": {}}),
        ("job", {"request": {"prompt": "x" * 100_000}}),
        ("job", {"request": []}),
        ("job", {"user": ["ann"]}),
        ("job", {"user": "x" * 1000}),
        ("job", {"created_at": 5}),
        ("job", {"c_s": "much"}),
        ("job", {f"stage{number}_s": 1.0 for number in range(20)}),
        ("job", {"warnings": None}),
        ("job", {"client_state": "text"}),
        ("images", {"format": "html"}),
        ("images", {"format": "x/y"}),
        ("images", {"id": "../../x"}),
        ("images", {"latent_id": "../x"}),
        ("images", {"job_id": "OTHER"}),
        ("images", {"width": "256"}),
        ("latents", {"job_id": "OTHER"}),
        ("latents", {"id": "a/b"}),
        ("latents", {"request": {"prompt": 5}}),
        ("job", {"client_state": {"a": math.nan}}),
        ("job", {"client_state": {"a": "\ud800"}}),
        ("job", {"client_state": reduce(lambda inner, _: {"a": inner}, range(400), {})}),
        ("job", {"warnings": [math.inf]}),
        ("job", {"warnings": [5]}),
        ("job", {"error": {"code": "\0"}}),
        ("job", {"error": {"code": 5}}),
        ("job", {"user": "\ud800"}),
        ("job", {"label": "a\0b"}),
        ("job", {"step": 2**31}),
        ("job", {"c_s": math.inf}),
        ("job", {"c_s": 1e308}),
        ("job", {"a_s": -1.0}),
        ("job", {"work": math.nan}),
        ("job", {"finished_at": None}),
        ("job", {"started_at": "1000-01-01T00:00:00"}),
        ("job", {"created_at": "0001-01-01T00:00:00+14:00"}),
        ("images", {"seed": 2**63}),
        ("job", {"created_at": "9999-01-01T00:00:00", "finished_at": "9999-01-01T00:00:01"}),
        ("images", {"index": -1}),
        ("images", {"size_bytes": 2**62}),
        ("images", {"size_bytes": -1}),
        ("images", {"ready_at": "9999-01-01T00:00:00"}),
        ("latents", {"model_id": "\ud800"}),
        ("images", {"preview": "../../x.webp"}),
        ("images", {"preview": "1-c-20.webp"}),
        ("job", {"choice": {"indices": [0], "at": "2026-01-01T00:00:00+00:00", "changes": {}}}),
    ],
)
async def test_rows_that_the_service_would_not_have_written_are_refused(
    entries: Entries, there: Database, store: BlobStore, table: str, change: dict[str, Any]
) -> None:
    with pytest.raises(InvalidRequest, match=r"rows\.json in the archive is damaged"):
        await import_jobs(there, store, SERVED, changed(entries, table, change))
    with there.reading() as connection:
        assert not connection.execute(select(jobs)).all()


async def test_a_job_that_names_the_seconds_of_no_stage_is_refused(
    entries: Entries, there: Database, store: BlobStore
) -> None:
    name, data = entries[-1]
    rows = json.loads(data)
    for stage in STABLE_CASCADE.stages:
        del rows["job"][0][stage.cost_key]
    with pytest.raises(InvalidRequest, match=r"rows\.json in the archive is damaged"):
        await import_jobs(there, store, SERVED, [*entries[:-1], (name, json.dumps(rows).encode())])


async def test_how_long_new_jobs_take_is_not_told_by_the_work_that_an_archive_claims(
    entries: Entries, there: Database, store: BlobStore
) -> None:
    times = {"created_at": "2026-01-01T00:00:00", "finished_at": "2026-01-01T00:00:10"}
    times |= {"started_at": times["created_at"]}
    await import_jobs(there, store, SERVED, changed(entries, "job", {**times, "work": 1e-300}))
    (row,) = json.loads(entries[-1][1])["job"]
    with there.reading() as connection:
        assert connection.execute(select(jobs.c.work)).scalars().all() == [row["work"]]


async def test_a_picture_that_claims_another_jobs_latent_is_refused(
    entries: Entries, there: Database, store: BlobStore
) -> None:
    await import_jobs(there, store, SERVED, entries)
    rows = json.loads(entries[-1][1])
    rows["job"][0] |= {"id": "EVIL", "user": "eve"}
    rows["images"][0] |= {"id": "I", "job_id": "EVIL"}
    rows["latents"] = []
    evil = [ABOUT, ("jobs/EVIL/rows.json", json.dumps(rows).encode())]
    with pytest.raises(InvalidRequest, match="damaged"):
        await import_jobs(there, store, SERVED, evil)


async def test_nothing_is_added_to_a_job_that_is_there(
    entries: Entries, there: Database, store: BlobStore
) -> None:
    await import_jobs(there, store, SERVED, entries)
    moved = await import_jobs(there, store, SERVED, changed(entries, "images", {"id": "MORE"}))
    assert moved.jobs == 0
    with there.reading() as connection:
        assert "MORE" not in connection.execute(select(images.c.id)).scalars().all()


async def test_a_picture_that_is_there_gets_no_copy_in_another_format_from_an_archive(
    entries: Entries, there: Database, store: BlobStore
) -> None:
    await import_jobs(there, store, SERVED, entries)
    (picture,) = (name for name, _ in entries if "/images/" in name)
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "WEBP")
    copy = picture.replace(".png", ".webp")
    moved = await import_jobs(there, store, SERVED, [ABOUT, (copy, file.getvalue())])
    assert moved.files == 0
    assert not await store.exists("images/" + copy.rpartition("/")[2])


@pytest.mark.parametrize("data", [b"<script>alert(1)</script>", b"", b"\x89PNG\r\n\x1a\nshort"])
async def test_what_is_no_picture_is_not_stored_as_one(
    there: Database, store: BlobStore, data: bytes
) -> None:
    with pytest.raises(InvalidRequest, match=r"X\.png in the archive"):
        await import_jobs(there, store, SERVED, [ABOUT, (PICTURE, data)])
    assert not await store.exists("images/X.png")


async def test_a_picture_of_another_format_than_its_name_is_not_stored(
    there: Database, store: BlobStore
) -> None:
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "WEBP")
    with pytest.raises(InvalidRequest, match="must be a PNG file"):
        await import_jobs(there, store, SERVED, [ABOUT, (PICTURE, file.getvalue())])
    deep = b"[" * 100_000
    with pytest.raises(InvalidRequest, match="damaged"):
        await import_jobs(there, store, SERVED, [ABOUT, ("jobs/J/rows.json", deep)])


def test_the_request_of_a_row_is_one_that_the_service_accepts(entries: Entries) -> None:
    row = json.loads(entries[-1][1])["job"][0]
    assert GenerationRequest.from_dict(row["request"]).n == 1
