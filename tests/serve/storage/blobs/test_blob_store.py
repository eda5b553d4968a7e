from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cascade_core.errors import Gone, NotFound, NotReady
from serve.storage.blobs.blob_keys import image_key, latent_key
from serve.storage.blobs.blob_store import BlobStore


@pytest.fixture(params=["folder", "s3"])
def blob_url(request: pytest.FixtureRequest, new_blob_url: Callable[[str], str]) -> str:
    return new_blob_url(request.param)


@pytest.fixture
def blobs(blob_url: str) -> BlobStore:
    return BlobStore(blob_url)


async def test_what_was_put_can_be_read_until_it_is_deleted(blobs: BlobStore) -> None:
    key = latent_key("LAT1")
    await blobs.put(key, b"one")
    await blobs.put(key, b"two")
    assert await blobs.get(key) == b"two"
    assert await blobs.exists(key)
    await blobs.delete(key)
    await blobs.delete(key)
    assert not await blobs.exists(key)
    with pytest.raises(NotFound):
        await blobs.get(key)


async def test_a_folder_store_writes_below_its_folder(tmp_path: Path) -> None:
    await BlobStore((tmp_path / "a b").as_uri()).put(image_key("IMG1", "png"), b"x")
    assert (tmp_path / "a b" / "images" / "IMG1.png").read_bytes() == b"x"


async def test_two_processes_see_the_same_store(blob_url: str) -> None:
    await BlobStore(blob_url).put("probe", b"x")
    assert await BlobStore(blob_url).get("probe") == b"x"


async def test_an_s3_store_keeps_to_the_path_in_its_url(new_blob_url: Callable[[str], str]) -> None:
    url = new_blob_url("s3")
    await BlobStore(f"{url}/a/b").put("probe", b"x")
    assert await BlobStore(url).get("a/b/probe") == b"x"


async def test_a_folder_is_listed_with_sizes_and_times(blobs: BlobStore) -> None:
    await blobs.put(latent_key("L1"), b"12345")
    await blobs.put(latent_key("L2"), b"123")
    await blobs.put(image_key("I1", "png"), b"1")
    found = {info.key: info async for chunk in blobs.list_folder("latents") for info in chunk}
    assert {key: info.size_bytes for key, info in found.items()} == {
        "latents/L1.msgpack": 5,
        "latents/L2.msgpack": 3,
    }
    age = datetime.now(UTC) - found["latents/L1.msgpack"].modified_at
    assert abs(age) < timedelta(days=1)


async def test_an_empty_store_lists_nothing(blobs: BlobStore) -> None:
    assert [chunk async for chunk in blobs.list_folder("latents") if chunk] == []


async def test_what_should_be_there_and_is_not_is_gone(blobs: BlobStore) -> None:
    await blobs.put("probe", b"x")
    assert await blobs.get_known("probe", "this") == b"x"
    with pytest.raises(Gone, match=r"this image .* missing"):
        await blobs.get_known(image_key("I1", "png"), "this image")


async def test_a_bucket_that_is_not_there_is_not_ready(new_blob_url: Callable[[str], str]) -> None:
    blobs = BlobStore(new_blob_url("s3") + "-other")
    with pytest.raises(NotReady, match="blob store"):
        await blobs.probe()


async def test_an_endpoint_that_does_not_answer_is_not_ready(
    new_blob_url: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = new_blob_url("s3")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(NotReady, match="blob store"):
        await BlobStore(url).get("probe")


async def test_the_probe_finds_a_store_that_cannot_be_written(tmp_path: Path) -> None:
    blobs = BlobStore((tmp_path / "blobs").as_uri())
    await blobs.probe()
    (tmp_path / "blobs" / "probe").unlink()
    (tmp_path / "blobs").rmdir()
    (tmp_path / "blobs").write_text("a file where the folder was")
    with pytest.raises(NotReady, match="blob store") as caught:
        await blobs.probe()
    assert "Not a directory" in caught.value.reason
    assert "Not a directory" not in str(caught.value)


def test_a_folder_that_cannot_be_made_is_not_ready(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotReady) as caught:
        BlobStore((tmp_path / "file" / "blobs").as_uri())
    assert "Not a directory" in caught.value.reason
