"""A process that runs jobs takes the name of its rank only if nobody else lives under it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import update

from serve import tables
from serve.db import Database
from serve.executors import GONE_AFTER, Executors
from serve.records import utc_now


@pytest.fixture
def executors(database: Database) -> Executors:
    return Executors(database)


@pytest.fixture
def age(database: Database) -> Callable[[str, timedelta], None]:
    """Moves an executor's last sign of life into the past."""

    def move(name: str, by: timedelta) -> None:
        change = update(tables.executors).where(tables.executors.c.id == name)
        with database.writing() as connection:
            connection.execute(change.values(beat_at=utc_now() - by))

    return move


def never(_seconds: float) -> None:
    raise AssertionError("nobody was there to wait for")


def test_the_first_process_of_a_rank_gets_its_name_at_once(executors: Executors) -> None:
    assert executors.take_name(0, "replica-a", never) == "jobs-0"
    assert executors.take_name(1, "replica-b", never) == "jobs-1"


def test_a_process_started_again_gets_the_name_when_the_one_before_shows_no_life(
    executors: Executors,
) -> None:
    executors.take_name(0, "replica-a", never)
    assert executors.take_name(0, "replica-b", lambda _: None) == "jobs-0"


def test_a_rank_whose_first_holder_lives_gives_another_name(executors: Executors) -> None:
    executors.take_name(1, "replica-a", never)
    assert executors.take_name(1, "replica-b", lambda _: executors.beat("jobs-1")) == (
        "jobs-replica-b"
    )


def test_a_name_long_unused_is_taken_without_waiting(
    executors: Executors, age: Callable[[str, timedelta], None]
) -> None:
    executors.take_name(0, "replica-a", never)
    age("jobs-0", 2 * GONE_AFTER)
    assert executors.take_name(0, "replica-b", never) == "jobs-0"


def test_an_executor_without_signs_of_life_is_gone_until_it_is_struck_out(
    executors: Executors, age: Callable[[str, timedelta], None]
) -> None:
    executors.beat("jobs-0")
    executors.beat("jobs-1")
    assert executors.gone("jobs-2") == []
    age("jobs-1", 2 * GONE_AFTER)
    assert executors.gone("jobs-2") == ["jobs-1"]
    executors.forget("jobs-1")
    executors.forget("jobs-0")  # lives, so it stays
    age("jobs-0", 2 * GONE_AFTER)
    assert executors.gone("jobs-2") == ["jobs-0"]


def test_an_executor_late_with_its_sign_of_life_does_not_take_itself_for_gone(
    executors: Executors, age: Callable[[str, timedelta], None]
) -> None:
    for name in ("jobs-0", "jobs-1"):
        executors.beat(name)
        age(name, 2 * GONE_AFTER)
    assert executors.gone("jobs-0") == ["jobs-1"]
