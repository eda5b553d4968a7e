"""Zip archives, written piece by piece."""

from __future__ import annotations

import gc
import io
import sys
from datetime import UTC, datetime
from zipfile import ZipFile

import pytest

from serve.gateway.routes.library.zip_stream import ZipStream

AT = datetime(2026, 1, 31, 12, 0, 2, tzinfo=UTC)


def test_the_pieces_are_a_sound_archive_and_each_holds_one_entry() -> None:
    stream = ZipStream()
    entries = {f"{number}.png": bytes([number]) * 1000 * number for number in range(1, 5)}
    pieces = [stream.add(name, data, AT) for name, data in entries.items()]
    for piece, data in zip(pieces, entries.values(), strict=True):
        assert 0 < len(piece) - len(data) < 100, "nothing of the entries before is kept"
    archive = ZipFile(io.BytesIO(b"".join([*pieces, stream.end()])))
    assert archive.testzip() is None
    assert {name: archive.read(name) for name in archive.namelist()} == entries
    assert {entry.date_time for entry in archive.infolist()} == {(2026, 1, 31, 12, 0, 2)}


def test_an_archive_that_its_client_left_is_given_up_silently(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    raised: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", raised.append)
    ZipStream().add("a.png", b"a", datetime(2026, 1, 31, tzinfo=UTC))
    gc.collect()
    assert raised == []
