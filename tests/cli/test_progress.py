"""Adding up steps over the pictures of a job."""

from __future__ import annotations

import pytest

from serve.cli.progress import StageProgress, StageTally


def test_a_stage_is_complete_when_every_picture_has_passed_it() -> None:
    tally = StageTally(images=2)
    tally.record(index=0, step=10, steps=10)
    assert (tally.done, tally.total, tally.is_complete) == (10, 20, False)
    tally.record(index=1, step=10, steps=10)
    assert (tally.done, tally.total, tally.is_complete) == (20, 20, True)


def test_a_stage_that_no_picture_has_reached_has_no_total_and_is_not_complete() -> None:
    assert StageTally(images=1).total == 0
    assert not StageTally(images=1).is_complete


def test_a_retried_stage_does_not_go_backwards() -> None:
    tally = StageTally(images=1)
    tally.record(index=0, step=7, steps=10)
    tally.record(index=0, step=1, steps=10)
    assert tally.done == 7


def test_a_later_stage_tells_that_the_earlier_ones_are_done(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The server coalesces steps and may leave out a stage's last one."""
    with StageProgress(images=1) as progress:
        progress.step("c", 0, 18, 20)
        progress.step("b", 0, 1, 10)
        progress.picture(0)
    said = capsys.readouterr().err.splitlines()
    assert said == ["C composing 20/20", "B detailing 10/10", "A decoding 1/1"]


def test_with_json_progress_is_shown_on_a_terminal_only(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with StageProgress(images=1, terminal_only=True) as progress:
        progress.picture(0)
    assert capsys.readouterr() == ("", "")
