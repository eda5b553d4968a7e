"""``jobs``: list, show, cancel."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from serve.cli.jobs import _print_job
from tests.serve.cli.cascade import Cascade


@pytest.fixture
def finished(cascade: Cascade, tmp_path: Path) -> Cascade:
    """The command line after one job has succeeded."""
    cascade("generate", "a red circle", "--out", str(tmp_path))
    return cascade


def test_an_empty_list_tells_how_to_make_a_job(cascade: Cascade) -> None:
    assert "cascade generate" in cascade("jobs").stdout


def test_the_list_shows_id_state_and_prompt(finished: Cascade) -> None:
    shown = finished("jobs").stdout
    assert "JOB0" in shown
    assert "succeeded" in shown
    assert "a red circle" in shown


def test_the_list_shows_of_what_a_variation_is(finished: Cascade, tmp_path: Path) -> None:
    assert finished("vary", "IMG-JOB0-0", "--out", str(tmp_path)).exit_code == 0
    first, *_ = [line for line in finished("jobs").stdout.splitlines() if "JOB1" in line]
    assert "(new details) kept" in first


def test_the_list_can_be_filtered_by_state(finished: Cascade) -> None:
    assert json.loads(finished("jobs", "--state", "failed", "--json").stdout) == []
    assert len(json.loads(finished("jobs", "--state", "succeeded", "--json").stdout)) == 1


def test_an_empty_list_of_one_state_says_so_although_there_are_other_jobs(
    finished: Cascade,
) -> None:
    assert finished("jobs", "--state", "failed").stdout == "no job is failed\n"


def test_show_prints_images_and_seconds(finished: Cascade) -> None:
    shown = finished("jobs", "show", "JOB0").stdout
    assert "IMG-JOB0-0" in shown
    assert "C 0.50 s" in shown


def test_cancel_tells_the_state_reached(finished: Cascade) -> None:
    assert finished("jobs", "cancel", "JOB0").stdout == "job JOB0 is cancelled\n"


@pytest.mark.parametrize("command", ["show", "cancel"])
def test_an_unknown_id_shows_the_servers_sentence_and_exits_2(
    cascade: Cascade, command: str
) -> None:
    result = cascade("jobs", command, "NOPE")
    assert result.exit_code == 2
    assert "there is no such thing" in result.stderr


def test_a_waiting_job_shows_its_compositions_what_was_rejected_and_until_when_it_waits(
    capsys: pytest.CaptureFixture[str],
) -> None:
    sources = {"latent_id": "LAT", "seed": 7, "decoder_seed": 8}
    job: dict[str, Any] = {
        **{"id": "JOB9", "kind": "generate", "state": "waiting", "request": {"prompt": "a star"}},
        **{"created_at": "2026-01-31T12:00:00.000Z", "finished_at": None, "cost": {"c_s": 0.5}},
        "deadline_at": "2026-02-01T12:00:00.000Z",
        "images": [{"id": "IMG", "index": 0, **sources}],
        "compositions": [{"index": index, **sources} for index in (0, 1)],
        "warnings": ["composing anew failed: it ran out of memory"],
        "rejected": [{"index": 1, "rule": rule, "seed": 8} for rule in ("blank", "text")],
    }
    _print_job(job)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "job JOB9: waiting"
    assert [line for line in lines if "to be continued" in line]
    shown = [line.split()[:2] for line in lines if "latent LAT" in line]
    assert shown == [["image", "IMG"], ["composition", "1"]]
    assert "  warning: composing anew failed: it ran out of memory" in lines
    assert "  rejected by a checker and composed anew: 1 (blank), 1 (text)" in lines
