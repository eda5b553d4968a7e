"""Processes that run jobs: their names, which have expired, and which holds the lease."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from sqlalchemy import insert, select, update

from serve.storage import leases as lease_module
from serve.storage.database import Database
from serve.storage.leases import EXPIRES_AFTER, RENEW_EVERY_S, LeaseStore
from serve.storage.records import utc_now
from serve.storage.schema import tables
from tests.serve.clock import Clock

EXPIRES_S = EXPIRES_AFTER.total_seconds()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, new_database_url: Callable[[str], str]) -> str:
    return new_database_url(request.param)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def leases(database: Database, clock: Clock) -> LeaseStore:
    return LeaseStore(database, clock)


@pytest.fixture
def other(database_url: str, clock: Clock) -> Iterator[LeaseStore]:
    """The same table, as another process sees it."""
    database = Database(database_url)
    yield LeaseStore(database, clock)
    database.close()


@pytest.fixture
def age(database: Database) -> Callable[[str, timedelta], None]:
    """Moves an executor's last sign of life, and its lease, into the past."""

    def move(name: str, by: timedelta) -> None:
        change = update(tables.executors).where(tables.executors.c.id == name)
        lease = update(tables.leases).where(tables.leases.c.holder == name)
        with database.writing() as connection:
            connection.execute(change.values(heartbeat_at=utc_now() - by))
            connection.execute(lease.values(renewed_at=utc_now() - by))

    return move


def never(_seconds: float) -> None:
    raise AssertionError("no process was there to wait for")


def renew_for(seconds: float, clock: Clock, leases: LeaseStore, *names: str) -> None:
    """Show life for a while."""
    for _ in range(round(seconds / RENEW_EVERY_S)):
        clock.now_s += RENEW_EVERY_S
        for name in names:
            leases.renew(name)


def test_the_first_process_of_a_rank_gets_its_name_at_once(leases: LeaseStore) -> None:
    assert leases.acquire(0, "replica-a", never) == "jobs-0"
    assert leases.acquire(1, "replica-b", never) == "jobs-1"


def test_a_process_started_again_gets_the_name_when_the_one_before_shows_no_life(
    leases: LeaseStore,
) -> None:
    leases.acquire(0, "replica-a", never)
    assert leases.acquire(0, "replica-b", lambda _: None) == "jobs-0"


def test_a_rank_whose_first_holder_lives_gives_another_name(
    leases: LeaseStore, other: LeaseStore
) -> None:
    leases.acquire(1, "replica-a", never)

    def pause(_seconds: float) -> None:
        leases.renew("jobs-1")

    assert other.acquire(1, "replica-b", pause) == "jobs-replica-b"


def test_a_name_long_unused_is_taken_without_waiting(
    leases: LeaseStore, age: Callable[[str, timedelta], None]
) -> None:
    leases.acquire(0, "replica-a", never)
    age("jobs-0", 2 * EXPIRES_AFTER)
    assert leases.acquire(0, "replica-b", never) == "jobs-0"


def test_an_executor_whose_sign_of_life_does_not_change_is_gone_until_it_is_removed(
    leases: LeaseStore, clock: Clock
) -> None:
    leases.renew("jobs-1")
    renew_for(EXPIRES_S - RENEW_EVERY_S, clock, leases, "jobs-0")
    assert not leases.expired("jobs-0")
    renew_for(2 * RENEW_EVERY_S, clock, leases, "jobs-0")
    gone = leases.expired("jobs-0")
    assert list(gone) == ["jobs-1"]
    leases.remove("jobs-1", gone["jobs-1"])
    renew_for(RENEW_EVERY_S, clock, leases, "jobs-0")
    assert not leases.expired("jobs-0")


@pytest.mark.parametrize("is_seen", [True, False])
def test_an_executor_that_shows_life_again_is_not_removed(
    leases: LeaseStore, other: LeaseStore, clock: Clock, database: Database, is_seen: bool
) -> None:
    other.renew("jobs-1")
    renew_for(EXPIRES_S + RENEW_EVERY_S, clock, leases, "jobs-0")
    gone = leases.expired("jobs-0")
    assert list(gone) == ["jobs-1"]
    other.renew("jobs-1")
    if is_seen:  # while its jobs were being adopted
        renew_for(RENEW_EVERY_S, clock, leases, "jobs-0")
    leases.remove("jobs-1", gone["jobs-1"])
    renew_for(RENEW_EVERY_S, clock, leases, "jobs-0")
    assert not leases.expired("jobs-0")
    with database.reading() as connection:
        assert set(connection.execute(select(tables.executors.c.id)).scalars()) == {
            "jobs-0",
            "jobs-1",
        }


@pytest.mark.parametrize("slow_s", [30, -30])
def test_an_executor_on_a_machine_whose_clock_is_wrong_is_not_gone(
    leases: LeaseStore, clock: Clock, database: Database, slow_s: float
) -> None:
    """Its signs of life change, whatever time they say."""
    by = timedelta(seconds=slow_s)
    with database.writing() as connection:
        connection.execute(
            insert(tables.executors).values(id="jobs-1", heartbeat_at=utc_now() - by)
        )
    for _ in range(round(2 * EXPIRES_S)):
        renew_for(RENEW_EVERY_S, clock, leases, "jobs-0")
        assert not leases.expired("jobs-0")
        with database.writing() as connection:
            connection.execute(
                update(tables.executors)
                .where(tables.executors.c.id == "jobs-1")
                .values(heartbeat_at=utc_now() - by)
            )


def test_all_show_life_by_one_clock(
    leases: LeaseStore, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database's, so that a process with another one does not move deadlines on."""
    if database._engine.dialect.name == "sqlite":
        pytest.skip("those that share a file share a machine and its clock")
    for module in ("records", "schema.tables"):
        monkeypatch.setattr(
            f"serve.storage.{module}.datetime", None
        )  # this process cannot tell the time
    leases.renew("jobs-0")
    with database.reading() as connection:
        now = tables.database_now(connection)
        heartbeat_at = connection.execute(select(tables.executors.c.heartbeat_at)).scalar_one()
    assert timedelta() <= now - heartbeat_at < timedelta(minutes=1)


def test_no_executor_is_taken_for_gone_after_the_database_was_away(
    leases: LeaseStore, clock: Clock
) -> None:
    leases.renew("jobs-1")
    leases.renew("jobs-0")
    clock.now_s += 10 * EXPIRES_S
    leases.renew("jobs-0")  # the first one that could
    assert not leases.expired("jobs-0")
    renew_for(EXPIRES_S, clock, leases, "jobs-0")
    assert list(leases.expired("jobs-0")) == ["jobs-1"]


def test_an_executor_late_with_its_sign_of_life_does_not_take_itself_for_gone(
    leases: LeaseStore, clock: Clock
) -> None:
    leases.renew("jobs-0")
    renew_for(EXPIRES_S + RENEW_EVERY_S, clock, leases, "jobs-1")
    assert not leases.expired("jobs-0")


def test_one_process_of_a_release_holds_the_lease_and_another_takes_it_when_that_is_gone(
    leases: LeaseStore, other: LeaseStore, age: Callable[[str, timedelta], None]
) -> None:
    assert leases.renew("jobs-0")
    assert not other.renew("jobs-1")
    assert leases.renew("jobs-0")
    age("jobs-0", EXPIRES_AFTER / 2)
    assert not other.renew("jobs-1")
    age("jobs-0", 2 * EXPIRES_AFTER)
    assert other.renew("jobs-1")
    assert not leases.renew("jobs-0")


def test_a_lease_taken_before_the_clock_of_the_database_was_set_back_does_not_last(
    leases: LeaseStore, other: LeaseStore, age: Callable[[str, timedelta], None]
) -> None:
    assert leases.renew("jobs-0")
    age("jobs-0", -10 * EXPIRES_AFTER)
    assert other.renew("jobs-1")


def test_processes_of_two_releases_have_a_lease_each(
    leases: LeaseStore, other: LeaseStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The older one may not take up what the later one's processes left."""
    assert leases.renew("jobs-0")
    monkeypatch.setattr(lease_module, "RELEASE", "99.0")
    assert other.renew("jobs-1")
