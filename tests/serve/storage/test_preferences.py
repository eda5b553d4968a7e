"""Small values that several writers keep under one name, on both databases."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from serve.storage.database import Database
from serve.storage.records import JobOwner


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, new_database_url: Callable[[str], str]) -> str:
    return new_database_url(request.param)


def test_values_put_under_a_new_name_at_the_same_time_are_all_taken(database: Database) -> None:
    preferences_, owner = database.preferences, JobOwner("bot", None)
    starts = Barrier(4)

    def put(number: int) -> None:
        for name in range(20):
            starts.wait()  # all of them, so that each name is new to all of them
            preferences_.put(owner, f"name{name}", {"by": number})

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(put, range(4)))
    values = [preferences_.get(owner, f"name{name}") or {} for name in range(20)]
    assert all(value["by"] in range(4) for value in values)
