"""The keys of the blob store keep to their folders and to their documented form."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade_core.errors import InvalidRequest
from serve.storage.blobs.blob_keys import (
    handoff_key,
    image_key,
    latent_key,
    preview_key,
    preview_key_from_name,
    preview_name,
)


def test_keys_have_their_documented_form() -> None:
    assert latent_key("L.1") == "latents/L.1.msgpack"
    assert image_key("I1", "webp") == "images/I1.webp"
    assert handoff_key("J1", 2, "b") == "handoffs/J1-2-b.msgpack"
    assert preview_key("J1", 2, "c", 5) == "previews/J1-2-c-5.webp"


def test_a_preview_is_found_by_the_name_in_its_url() -> None:
    key = preview_key("J1", 2, "b", 7)
    assert preview_name("J1", key) == "2-b-7.webp"
    assert preview_key_from_name("J1", "2-b-7.webp") == key


@pytest.mark.parametrize(
    "name", ["", "x", "../../secret", "1-c-2.png", "1-c-2.webp/..", "-c-.webp"]
)
def test_other_preview_names_are_refused(name: str) -> None:
    with pytest.raises(InvalidRequest):
        preview_key_from_name("J1", name)


@pytest.mark.parametrize(
    "part", ["", "..", ".", "a/b", "../a", "a\\b", "a\n", "a%2f", "ä", "a" * 200]
)
def test_ids_that_could_leave_their_folder_are_refused(part: str) -> None:
    with pytest.raises(InvalidRequest):
        latent_key(part)
    with pytest.raises(InvalidRequest):
        image_key("ok", part)


@given(st.text())
def test_every_key_stays_in_its_folder(part: str) -> None:
    try:
        key = latent_key(part)
    except InvalidRequest:
        return
    folder, name = key.split("/")
    assert folder == "latents"
    assert not name.startswith(".")
