"""``top``: one frame tells what is wrong and where, also on a narrow terminal."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from rich.console import Console

from cascade_core.checkpoints.checkpoint import ModelSource, open_checkpoint
from cascade_core.families.stable_cascade import STABLE_CASCADE
from cascade_core.families.stage_info import StageInfo
from serve.cli.top_frame import Snapshot, frame, lost_frame
from serve.gateway.application import create_app
from serve.gateway.dependencies import Services
from serve.moderation.moderator import Moderator
from serve.settings import Settings
from serve.storage.blobs.blob_store import BlobStore
from serve.storage.database import Database
from tests.cascade_core.test_printable import STEERING
from tests.migrated import with_tables
from tests.serve.cli.cascade import Cascade
from tests.serve.cli.scripted_server import ScriptedService
from tests.serve.fake_jobs_client import FakeJobsClient
from tests.serve.served import served

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
NOTHING_YET = {"c_s": 0.0, "b_s": 0.0, "a_s": 0.0}
LONG = "a lighthouse at dusk over a stormy sea, oil on canvas, very detailed, in the rain"


def ago(seconds: float) -> str:
    return (NOW - timedelta(seconds=seconds)).isoformat()


def job(number: int, **changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "id": f"01KABCDEFGHJKMNPQRSTVWXY{number:02}",
        "kind": "generate",
        "stage": "c",
        "progress": {"step": 3, "steps": 20, "index": 0},
        "started_at": ago(75),
        "finished_at": None,
        "eta_s": None,
        "images": [{}],
        "error": None,
        "request": {"prompt": LONG, "n": 1},
        "cost": {"c_s": 4.0, "b_s": 2.0, "a_s": 0.2},
    }
    return values | changes


def snapshot(**changes: Any) -> Snapshot:
    ended = {"succeeded": 30, "failed": 1, "cancelled": 0}
    replicas = {"Gateway": 1, "Jobs": 1, "StageC": 4, "StageB": 2, "StageA": 0}
    values: dict[str, Any] = {
        "url": "http://cascade.example.com:8000",
        "at": NOW,
        "status": {"replicas": replicas, "queued": 14, "running": 2, "last_hour": ended},
        "stages": STABLE_CASCADE.stages,
        "unready": "",
        "running": [
            job(1, cost=NOTHING_YET),
            job(2, cost=NOTHING_YET, stage="b", kind="vary_details"),
        ],
        "queued": [job(3, eta_s=95.2)],
        "succeeded": [
            *(job(number, finished_at=ago(10 * number)) for number in range(10)),
            *(
                job(number, finished_at=ago(10 * number), cost={"c_s": 0.0, "b_s": 4.0, "a_s": 0.2})
                for number in range(10, 20)
            ),
            job(20, finished_at=ago(3600)),
        ],
        "failed": [
            job(21, finished_at=ago(60), error={"code": "out_of_memory", "message": LONG * 2})
        ],
    }
    return Snapshot(**values | changes)


def rendered(shown: Any, columns: int = 80) -> str:
    console = Console(file=StringIO(), width=columns)
    console.print(shown)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def row(text: str, name: str) -> list[str]:
    """Return the words of the line that begins with a name."""
    (line,) = [line.split() for line in text.splitlines() if line.startswith(f"{name} ")]
    return line


def test_its_clock_is_this_machines_as_in_the_list_of_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as there:
        there.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        shown = rendered(frame(snapshot()))
    time.tzset()
    assert "21:00:00" in shown.splitlines()[0]


def test_stages_show_replicas_jobs_speed_and_rate_of_the_last_ten_minutes() -> None:
    text = rendered(frame(snapshot()))
    assert row(text, "C") == ["C", "4", "1", "4.00", "1.0"]
    assert row(text, "B") == ["B", "2", "1", "3.00", "2.0"]
    assert row(text, "A") == ["A", "0", "0", "0.20", "2.0"]
    assert row(text, "Jobs") == ["Jobs", "1"]


def test_the_line_and_the_ends_of_the_last_hour_are_told() -> None:
    text = rendered(frame(snapshot()))
    assert "14 queued   2 running   the last queued job is done in about 1 min 35 s" in text
    assert "30 done  1 failed  0 cancelled" in text


@pytest.mark.parametrize("columns", [80, 132])
def test_no_line_is_wider_than_the_terminal_and_ids_stay_whole(columns: int) -> None:
    text = rendered(frame(snapshot()), columns)
    assert max(map(len, text.splitlines())) <= columns
    for number in (1, 2, 21):
        assert f"01KABCDEFGHJKMNPQRSTVWXY{number:02}" in text
    running = row(text, "01KABCDEFGHJKMNPQRSTVWXY01")
    assert running[1:7] == ["C", "3/20", "1/1", "1", "min", "15"]


def test_a_job_whose_composition_is_done_is_in_line_for_stage_b() -> None:
    text = rendered(frame(snapshot(running=[job(1, cost=NOTHING_YET | {"c_s": 0.4})])))
    assert (row(text, "C")[2], row(text, "B")[2]) == ("0", "1")
    assert row(text, "01KABCDEFGHJKMNPQRSTVWXY01")[1:3] == ["B", "waits"]


def test_unknown_values_are_shown_as_unknown() -> None:
    status = {"queued": 0, "running": 0, "last_hour": snapshot().status["last_hour"]}
    nothing: dict[str, Any] = {name: [] for name in ("running", "queued", "succeeded", "failed")}
    text = rendered(frame(snapshot(status=status | {"replicas": None}, **nothing)))
    assert row(text, "C") == ["C", "?", "0", "-", "-"]
    assert "no job runs" in text
    assert "last errors" not in text


def test_an_older_service_that_tells_no_stages_has_no_rows_of_them() -> None:
    text = rendered(frame(snapshot(stages=())))
    assert row(text, "Jobs") == ["Jobs", "1"]
    assert not [line for line in text.splitlines() if line.startswith(("C ", "B ", "A "))]
    assert row(text, "01KABCDEFGHJKMNPQRSTVWXY01")[1:3] == ["C", "3/20"]


def test_other_stages_have_rows_of_their_own() -> None:
    plan = StageInfo(name="plan", title="Planning", share=0.2)
    costs = NOTHING_YET | {"plan_s": 1.5}
    seen = snapshot(
        stages=(plan, *STABLE_CASCADE.stages), running=[job(1, stage="plan", cost=costs)]
    )
    text = rendered(frame(seen))
    assert row(text, "PLAN") == ["PLAN", "?", "0", "-", "-"]
    assert row(text, "01KABCDEFGHJKMNPQRSTVWXY01")[1:3] == ["C", "waits"]


def test_a_service_that_is_not_ready_or_away_says_why_above_the_last_frame() -> None:
    text = rendered(lost_frame(frame(snapshot(unready="StageC: no GPU")), "no server answers"))
    assert text.splitlines()[0] == "no server answers"
    assert "StageC: no GPU" in text.splitlines()[1]


def test_a_prompt_cannot_steer_the_terminal() -> None:
    request = {"prompt": "\x1b[2Ja\nfox [red]", "n": 1}
    text = rendered(frame(snapshot(running=[job(1, request=request)])))
    assert "\x1b" not in text
    assert "a fox [red]" in text


@pytest.fixture
def fake_jobs(tmp_path: Path) -> Iterator[FakeJobsClient]:
    settings = Settings(data_dir=tmp_path / "data")
    database = Database(with_tables(settings.database_url))
    yield FakeJobsClient(database, BlobStore(settings.blob_url), open_checkpoint(ModelSource()))
    database.close()


@pytest.fixture
def gateway_app(fake_jobs: FakeJobsClient, tmp_path: Path) -> FastAPI:
    settings = Settings(data_dir=tmp_path / "data")
    moderator = Moderator([], lambda *_: None)
    checkpoint = open_checkpoint(ModelSource())
    return create_app(
        Services(
            settings=settings,
            database=fake_jobs.database,
            blobs=fake_jobs.blobs,
            models=served(checkpoint=checkpoint),
            jobs=fake_jobs,
            moderator=moderator,
        )
    )


def test_once_prints_one_frame_of_a_real_gateway(
    cascade_at_gateway: Cascade, fake_jobs: FakeJobsClient, tmp_path: Path
) -> None:
    fake_jobs.on_submit = fake_jobs.run
    assert cascade_at_gateway("generate", "a red fox", "--out", str(tmp_path)).exit_code == 0
    shown = cascade_at_gateway("top", "--once")
    assert shown.exit_code == 0, shown.output
    assert "1 done  0 failed" in shown.stdout
    assert row(shown.stdout, "C")[1] == "1"
    assert "no job runs" in shown.stdout


def test_a_server_that_is_away_at_the_start_exits_3(service: ScriptedService) -> None:
    assert Cascade("http://127.0.0.1:1")("top", "--once").exit_code == 3


def test_hostile_text_does_not_steer_the_terminal() -> None:
    evil = "a\x1b]0;pwned\x07\x1b[2J\x9b31m\u202e\u2066\nb 👩\u200d🎨"
    hostile = job(1, id=evil, request={"prompt": evil, "n": 1})
    failed = job(2, finished_at=ago(60), error={"code": evil, "message": evil})
    seen = snapshot(url=evil, unready=evil, running=[hostile], failed=[failed])
    for text in (rendered(frame(seen), 300), rendered(lost_frame(frame(seen), evil), 300)):
        assert set(text) & set(STEERING) <= {"\n"}
        assert text.count("pwned") >= 5
        assert "👩\u200d🎨" in text
