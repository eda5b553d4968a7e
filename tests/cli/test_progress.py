"""Adding up steps over the pictures of a job."""

from __future__ import annotations

from serve.cli.progress import StageTally


def test_a_stage_is_complete_when_every_picture_has_passed_it() -> None:
    tally = StageTally(images=2)
    tally.record(index=0, step=10, steps=10)
    assert (tally.done, tally.total, tally.is_complete) == (10, 20, False)
    tally.record(index=1, step=10, steps=10)
    assert (tally.done, tally.total, tally.is_complete) == (20, 20, True)


def test_a_stage_nobody_reached_has_no_total_and_is_not_complete() -> None:
    assert StageTally(images=1).total == 0
    assert not StageTally(images=1).is_complete


def test_a_retried_stage_does_not_go_backwards() -> None:
    tally = StageTally(images=1)
    tally.record(index=0, step=7, steps=10)
    tally.record(index=0, step=1, steps=10)
    assert tally.done == 7
