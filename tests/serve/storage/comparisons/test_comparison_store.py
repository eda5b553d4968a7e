"""The store of comparisons and votes, on both databases."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from ulid import ULID

from cascade_core.errors import IdempotencyMismatch
from serve.storage.comparisons.comparison import Comparison
from serve.storage.database import Database
from serve.storage.lineage import Viewpoint
from serve.storage.records import JobIdentity, JobOwner, utc_now

ANN = JobOwner("k1", "ann")


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, new_database_url: Callable[[str], str]) -> str:
    return new_database_url(request.param)


def comparison(owner: JobOwner = ANN) -> Comparison:
    two = ({"model": "demo"}, {"model": "other"})
    return Comparison(str(ULID()), owner, utc_now(), "a red circle", 7, 2, two, ("demo", "other"))


def identity(of: Comparison, key: str | None = None, body: str = "digest") -> JobIdentity:
    return JobIdentity(of.id, key, body)


def test_a_comparison_is_read_as_it_was_added(database: Database) -> None:
    made = comparison()
    added = database.comparisons.add(made, identity(made))
    assert added == database.comparisons.get(made.id) == made
    assert database.comparisons.get("other") is None


def test_equal_requests_at_once_add_one_comparison(database: Database) -> None:
    made = [comparison() for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        add = database.comparisons.add
        added = list(pool.map(lambda one: add(one, identity(one, "key")), made))
    assert len({one.id for one in added}) == 1
    for other in (identity(made[0], "key", "other"), identity(added[0], None, "other")):
        with pytest.raises(IdempotencyMismatch):
            database.comparisons.accepted_before(other)
        with pytest.raises(IdempotencyMismatch):
            database.comparisons.add(replace(made[0], id=other.job_id), other)


def test_of_the_votes_of_one_voter_at_once_one_counts(database: Database) -> None:
    made = comparison()
    database.comparisons.add(made, identity(made))
    choices = ["left", "right", "same"] * 4
    with ThreadPoolExecutor(4) as pool:
        vote = database.comparisons.vote
        counted = list(pool.map(lambda choice: vote(made.id, 0, ANN, choice), choices))
    assert len(set(counted)) == 1
    assert database.comparisons.votes([made.id]) == {made.id: {(0, counted[0]): 1}}
    for voter in (JobOwner("k1", "bob"), JobOwner("k1", None), JobOwner("k2", "ann")):
        database.comparisons.vote(made.id, 0, voter, "same")
    assert sum(database.comparisons.votes([made.id])[made.id].values()) == 4


def test_a_viewpoint_shows_the_comparisons_of_its_owner_alone(database: Database) -> None:
    owners = [ANN, JobOwner("k1", "bob"), JobOwner("k2", None)]
    for owner in owners:
        made = comparison(owner)
        database.comparisons.add(made, identity(made))

    def seen(viewpoint: Viewpoint) -> list[JobOwner]:
        return [one.owner for one in database.comparisons.page(viewpoint, None, 10)[0]]

    assert seen(Viewpoint("k1", None)) == owners[1::-1]
    assert seen(Viewpoint("k1", "ann")) == [ANN]
    assert seen(Viewpoint(None, None)) == owners[::-1]
