from collections import Counter
from dataclasses import dataclass
from math import prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade_core.engine.batching import MAX_RATIO, BucketTurns, preview_steps

SMALL, LARGE = (16, 6, 6), (16, 24, 24)


@dataclass(eq=False)
class Seat:
    bucket: tuple[int, ...]
    arrival: int
    last_turn: int = 0


seats = st.lists(
    st.builds(Seat, st.sampled_from([(1,), (2,), (3,)]), st.integers(0, 99), st.integers(0, 9)),
    max_size=12,
)


def test_without_rows_nothing_is_chosen() -> None:
    assert BucketTurns().next_rows([]) == []


@given(seats.filter(bool))
def test_all_rows_of_one_bucket_are_chosen_longest_waiting_first(rows: list[Seat]) -> None:
    chosen = BucketTurns().next_rows(rows)

    assert {id(row) for row in chosen} == {
        id(row) for row in rows if row.bucket == chosen[0].bucket
    }
    waits = [(row.last_turn, row.arrival) for row in chosen]
    assert waits == sorted(waits)


@given(seats.filter(bool))
def test_of_buckets_with_equal_claims_the_one_whose_row_waited_longest_is_chosen(
    rows: list[Seat],
) -> None:
    first = BucketTurns().next_rows(rows)[0]

    assert (first.last_turn, first.arrival) == min((row.last_turn, row.arrival) for row in rows)


def test_among_equals_the_oldest_goes_first() -> None:
    young, old, middle = Seat(SMALL, 3), Seat(SMALL, 1), Seat(SMALL, 2)

    assert BucketTurns().next_rows([young, old, middle]) == [old, middle, young]


@pytest.mark.parametrize("small_rows", [1, 3])
def test_a_large_row_gets_as_much_work_as_each_small_one_not_as_many_steps(small_rows: int) -> None:
    rows = [Seat(LARGE, 0), *(Seat(SMALL, 1 + number) for number in range(small_rows))]
    steps = Counter(chosen[0].bucket for chosen in run(BucketTurns(), rows, 17 * 10))

    assert steps == {SMALL: 160, LARGE: 10}


def test_a_bucket_that_was_empty_gets_no_more_than_its_share_when_rows_come() -> None:
    turns, small, large = BucketTurns(), Seat(SMALL, 0), Seat(LARGE, 1)
    run(turns, [small], 100)
    steps = Counter(chosen[0].bucket for chosen in run(turns, [small, large], 33))

    assert steps == {SMALL: 31, LARGE: 2}


def test_a_small_step_counts_as_a_sixteenth_of_the_largest_that_waits() -> None:
    rows = [Seat(LARGE, 0), *(Seat((side,), side) for side in (1, 2, 3))]
    steps = Counter(chosen[0].bucket for chosen in run(BucketTurns(), rows, 490))

    assert steps == {LARGE: 10, (1,): 160, (2,): 160, (3,): 160}


def test_small_rows_owe_nothing_for_a_large_one_that_has_left() -> None:
    turns, small, large = BucketTurns(), [Seat((1,), 0), Seat((2,), 1)], Seat(LARGE, 2)
    run(turns, [*small, large], 3)
    steps = Counter(chosen[0].bucket for chosen in run(turns, small, 30))

    assert steps == {(1,): 20, (2,): 10}


buckets = st.tuples(st.integers(1, 4), st.integers(1, 400))


@given(
    buckets,
    st.lists(buckets, min_size=1, max_size=6, unique=True),
    st.lists(st.sets(st.integers(0, 5), max_size=5), min_size=1, max_size=30),
    st.integers(1, 200),
)
def test_no_row_waits_longer_than_the_bound_although_rows_of_other_buckets_come_and_go(
    own: tuple[int, ...],
    others: list[tuple[int, ...]],
    away: list[set[int]],
    earlier_steps: int,
) -> None:
    turns, waiting = BucketTurns(), Seat(own, 0)
    others = [bucket for bucket in others if bucket != own]
    ratio = {bucket: prod(own) // prod(bucket) for bucket in others}
    bound = {bucket: min(max(ratio[bucket], 1), MAX_RATIO) + 1 for bucket in others}
    since = Counter[tuple[int, ...]]()
    rows = [waiting]
    for turn in range(1, earlier_steps + sum(bound.values()) + 2):
        # A one-step row of each other bucket joins before every step, and leaves after its turn;
        # rows of some buckets are cancelled before it.
        gone = {bucket for i, bucket in enumerate(others) if i in away[turn % len(away)]}
        rows += [Seat(bucket, turn * 100 + i, turn - 1) for i, bucket in enumerate(others)]
        rows = [row for row in rows if row.bucket not in gone]
        chosen = turns.next_rows(rows)
        for row in chosen:
            row.last_turn = turn
        since[chosen[0].bucket] += 1
        if waiting in chosen:
            since.clear()
        assert all(since[bucket] <= bound[bucket] for bucket in others)
        rows = [row for row in rows if row is waiting or row not in chosen]


def run(turns: BucketTurns, rows: list[Seat], steps: int) -> list[list[Seat]]:
    """Let rows that never end take turns; returns the rows of each step."""
    batches = []
    for turn in range(1, steps + 1):
        batches.append(turns.next_rows(rows))
        for row in batches[-1]:
            row.last_turn = turn
    return batches


@given(st.integers(1, 100), st.integers(0, 20))
def test_previews_are_spread_evenly_and_never_follow_the_last_step(steps: int, wanted: int) -> None:
    shown = sorted(preview_steps(steps, wanted))
    gaps = [after - before for before, after in zip([0, *shown], [*shown, steps], strict=True)]

    assert len(shown) == min(wanted, steps - 1)
    assert all(1 <= step < steps for step in shown)
    assert max(gaps) - min(gaps) <= 1


def test_three_previews_of_twenty_steps_come_after_each_quarter() -> None:
    assert preview_steps(20, 3) == {5, 10, 15}
    assert preview_steps(1, 3) == frozenset()
