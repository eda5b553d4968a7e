from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from cascade_core.engine.batching import choose_rows, preview_steps

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
    assert choose_rows([], 4) == []


@given(seats, st.integers(1, 6))
def test_chosen_rows_share_a_bucket_and_are_never_too_many(rows: list[Seat], limit: int) -> None:
    chosen = choose_rows(rows, limit)

    assert len({row.bucket for row in chosen}) == bool(rows)
    assert len(chosen) <= limit
    assert len(chosen) == len({id(row) for row in chosen})


@given(seats, st.integers(1, 6))
def test_a_step_is_filled_as_far_as_the_bucket_goes(rows: list[Seat], limit: int) -> None:
    chosen = choose_rows(rows, limit)
    same = [row for row in rows if chosen and row.bucket == chosen[0].bucket]

    assert len(chosen) == min(limit, len(same))


@given(seats.filter(bool), st.integers(1, 6))
def test_the_row_that_waited_longest_is_always_chosen(rows: list[Seat], limit: int) -> None:
    first = choose_rows(rows, limit)[0]

    assert (first.last_turn, first.arrival) == min((row.last_turn, row.arrival) for row in rows)


def test_among_equals_the_oldest_goes_first() -> None:
    young, old, middle = Seat(SMALL, 3), Seat(SMALL, 1), Seat(SMALL, 2)

    assert choose_rows([young, old, middle], 2) == [old, middle]


@given(st.lists(st.sampled_from([SMALL, LARGE, (9,)]), min_size=1, max_size=8), st.integers(1, 4))
def test_every_row_gets_its_turn_although_rows_of_other_buckets_keep_coming(
    buckets: list[tuple[int, ...]], limit: int
) -> None:
    waiting = Seat((0,), 0)
    rows = [waiting]
    for turn in range(1, 2 * len(buckets) + 3):
        # A one-step row of each bucket joins before every step, and leaves after its turn.
        rows += [Seat(bucket, turn * 100 + i, turn - 1) for i, bucket in enumerate(buckets)]
        chosen = choose_rows(rows, limit)
        if waiting in chosen:
            return
        rows = [row for row in rows if row not in chosen]

    raise AssertionError("the row never ran")


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
