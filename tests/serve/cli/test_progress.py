"""Adding up steps over the pictures of a job."""

from __future__ import annotations

import pytest

from cascade_core.families.stable_cascade import STABLE_CASCADE
from cascade_core.families.stage_info import StageInfo
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
    with StageProgress(images=1, stages=STABLE_CASCADE.stages) as progress:
        progress.step("c", 0, 18, 20)
        progress.step("b", 0, 1, 10)
        progress.picture(0)
    said = capsys.readouterr().err.splitlines()
    assert said == ["C composing 20/20", "B detailing 10/10", "A decoding 1/1"]


def test_with_json_progress_is_shown_on_a_terminal_only(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with StageProgress(images=1, stages=STABLE_CASCADE.stages, terminal_only=True) as progress:
        progress.picture(0)
    assert capsys.readouterr() == ("", "")


def test_a_service_that_tells_no_stages_has_its_pictures_counted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with StageProgress(images=2) as progress:
        progress.step("c", 0, 20, 20)
        progress.picture(0)
        assert capsys.readouterr().err == ""
        progress.picture(1)
    assert capsys.readouterr().err.splitlines() == ["pictures 2/2"]


def test_a_services_titles_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    stage = StageInfo(name="c", title="\x1b[2J[red]C\n", share=1.0)
    with StageProgress(images=1, stages=(stage,)) as progress:
        progress.step("c", 0, 1, 1)
    said = capsys.readouterr().err
    assert "\x1b" not in said
    assert "[red]C" in said
