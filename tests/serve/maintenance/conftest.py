"""Databases with their blob stores."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from serve.storage.blobs.blob_store import BlobStore
from serve.storage.database import Database

Stores = tuple[Database, BlobStore]


@pytest.fixture
def new_stores(
    new_database_url: Callable[[str], str], new_blob_url: Callable[[str], str]
) -> Callable[[str, str], Stores]:
    def make(database_kind: str, blob_kind: str) -> Stores:
        database = Database(new_database_url(database_kind))
        return database, BlobStore(new_blob_url(blob_kind))

    return make
