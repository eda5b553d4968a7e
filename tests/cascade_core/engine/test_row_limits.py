from hypothesis import given
from hypothesis import strategies as st

from cascade_core.engine.row_limits import PROBE_AFTER_TURNS, REFUSE_S, RESTART_AFTER, FittingRows

SMALL, LARGE = (16, 6, 6), (16, 24, 24)


@given(st.integers(1, 8), st.lists(st.tuples(st.sampled_from([SMALL, LARGE]), st.integers(1, 8))))
def test_a_step_may_always_take_at_least_one_row_and_never_more_than_allowed(
    max_rows: int, failures: list[tuple[tuple[int, ...], int]]
) -> None:
    fitting = FittingRows(max_rows)
    for turn, (bucket, rows) in enumerate(failures):
        fitting.ran_out(bucket, min(rows, max_rows), turn, 0.0)
        assert 1 <= fitting.most(bucket, turn) <= max_rows


@given(st.integers(2, 64))
def test_a_batch_too_large_is_halved_until_one_row_is_left(rows: int) -> None:
    fitting, tries = FittingRows(rows), 0
    while (most := fitting.most(LARGE, 0)) > 1:
        fitting.ran_out(LARGE, most, 0, 0.0)
        assert fitting.most(LARGE, 0) == (most + 1) // 2
        tries += 1
    assert tries == (rows - 1).bit_length()


def test_other_sizes_keep_their_batch() -> None:
    fitting = FittingRows(4)
    fitting.ran_out(LARGE, 4, 1, 0.0)
    assert (fitting.most(LARGE, 2), fitting.most(SMALL, 2)) == (2, 4)


def test_the_full_batch_is_probed_again_after_a_while() -> None:
    fitting = FittingRows(4)
    fitting.ran_out(LARGE, 4, 10, 0.0)
    assert fitting.most(LARGE, 10 + PROBE_AFTER_TURNS - 1) == 2
    assert fitting.most(LARGE, 10 + PROBE_AFTER_TURNS) == 4


def test_memory_needs_restart_when_what_fitted_once_no_longer_does() -> None:
    fitting = FittingRows(4)
    fitting.fitted(LARGE)
    for _ in range(RESTART_AFTER):
        assert not fitting.needs_restart
        fitting.fitted(SMALL)
        fitting.ran_out(LARGE, 1, 1, 0.0)
    assert fitting.needs_restart


def test_a_size_that_never_fitted_says_nothing_about_the_process() -> None:
    fitting = FittingRows(4)
    fitting.fitted(SMALL)
    for turn in range(10):
        fitting.ran_out(LARGE, 1, turn, 0.0)
    assert not fitting.needs_restart


def test_a_row_that_fits_again_clears_the_record() -> None:
    fitting = FittingRows(1)
    for turn in range(10):
        fitting.fitted(LARGE)
        fitting.ran_out(LARGE, 1, turn, 0.0)
    assert not fitting.needs_restart


def test_a_size_of_which_one_row_did_not_fit_rests_for_a_while() -> None:
    fitting = FittingRows(2)
    fitting.ran_out(LARGE, 2, 0, 10.0)
    assert not fitting.is_refused(LARGE, 10.0)
    fitting.ran_out(LARGE, 1, 1, 10.0)
    assert fitting.is_refused(LARGE, 10.0 + REFUSE_S / 2)
    assert not fitting.is_refused(SMALL, 10.0)
    assert not fitting.is_refused(LARGE, 10.0 + REFUSE_S)
