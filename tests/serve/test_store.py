from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade_core.errors import InvalidRequest, NotFound, NotReady
from serve import store
from serve.store import BlobStore


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore((tmp_path / "with space" / "blobs").as_uri())


async def test_what_was_put_can_be_read_until_it_is_deleted(blobs: BlobStore) -> None:
    key = store.latent_key("LAT1")
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
    await BlobStore((tmp_path / "a b").as_uri()).put(store.image_key("IMG1", "png"), b"x")
    assert (tmp_path / "a b" / "images" / "IMG1.png").read_bytes() == b"x"


async def test_two_processes_see_the_same_folder(tmp_path: Path) -> None:
    url = (tmp_path / "blobs").as_uri()
    await BlobStore(url).put("probe", b"x")
    assert await BlobStore(url).get("probe") == b"x"


async def test_the_probe_finds_a_store_that_cannot_be_written(tmp_path: Path) -> None:
    blobs = BlobStore((tmp_path / "blobs").as_uri())
    await blobs.probe()
    (tmp_path / "blobs" / "probe").unlink()
    (tmp_path / "blobs").rmdir()
    (tmp_path / "blobs").write_text("a file where the folder was")
    with pytest.raises(NotReady, match="blob store"):
        await blobs.probe()


def test_keys_have_their_documented_form() -> None:
    assert store.latent_key("L.1") == "latents/L.1.msgpack"
    assert store.image_key("I1", "webp") == "images/I1.webp"
    assert store.handoff_key("J1", 2) == "handoffs/J1-2.msgpack"
    assert store.preview_key("J1", 2, "c", 5) == "previews/J1-2-c-5.webp"


def test_a_preview_is_found_by_the_name_in_its_url() -> None:
    key = store.preview_key("J1", 2, "b", 7)
    assert store.preview_name("J1", key) == "2-b-7.webp"
    assert store.preview_key_from_name("J1", "2-b-7.webp") == key


@pytest.mark.parametrize(
    "name", ["", "x", "../../secret", "1-c-2.png", "1-c-2.webp/..", "-c-.webp"]
)
def test_other_preview_names_are_refused(name: str) -> None:
    with pytest.raises(InvalidRequest):
        store.preview_key_from_name("J1", name)


@pytest.mark.parametrize(
    "part", ["", "..", ".", "a/b", "../a", "a\\b", "a\n", "a%2f", "ä", "a" * 200]
)
def test_ids_that_could_leave_their_folder_are_refused(part: str) -> None:
    with pytest.raises(InvalidRequest):
        store.latent_key(part)
    with pytest.raises(InvalidRequest):
        store.image_key("ok", part)


@given(st.text())
def test_every_key_stays_in_its_folder(part: str) -> None:
    try:
        key = store.latent_key(part)
    except InvalidRequest:
        return
    folder, name = key.split("/")
    assert folder == "latents"
    assert not name.startswith(".")
