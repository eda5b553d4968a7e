"""What a live message shows of a job."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bot.service.models import FOUND, LOST, JobEvent, ModelInfo
from bot.views.snapshot import Snapshot
from cascade_core.families.stable_cascade import STABLE_CASCADE
from cascade_core.families.stage_info import StageInfo
from tests.bot.conftest import JobMaker

STAGES = STABLE_CASCADE.stages
MODEL = ModelInfo("demo", "Apache-2.0", 1024, 1024, 128, 256, 2048, (), 20, STAGES)


def test_no_time_is_shown_that_is_past_or_would_be_when_it_is_read() -> None:
    soon = Snapshot(stage="c", step=5, steps=20, done=(0.15,), done_at=1001)
    assert soon.at(1000.2).done_at == 1003
    assert soon.at(1001.0).done_at is None
    assert soon.at(990.0).done_at == 1001
    assert replace(soon, is_lost=True).at(990.0).done_at is None


def event(kind: str, **data: object) -> JobEvent:
    return JobEvent("1", kind, data)


def test_a_snapshot_follows_the_events_and_its_bar_never_goes_back(make_job: JobMaker) -> None:
    snapshot = Snapshot.of(make_job(pictures=2, state="queued", eta_s=10.0, position=3), 1000.0)
    assert (snapshot.position, snapshot.done_at, snapshot.n) == (3, 1010, 2)
    snapshot = replace(snapshot, stages=STAGES)
    step = event("progress", stage="c", step=10, steps=20, index=0, preview_url="/v1/p")
    snapshot = snapshot.after(step, 1001.0)
    assert (snapshot.position, snapshot.stage, snapshot.preview) == (None, "c", "/v1/p")
    assert snapshot.fraction == pytest.approx(0.15)  # half of Stage C of one of two pictures
    detail = snapshot.after(event("progress", stage="b", step=1, steps=2, index=0), 1002.0)
    other = detail.after(event("progress", stage="c", step=1, steps=20, index=1), 1003.0)
    assert other.fraction > detail.fraction > snapshot.fraction
    late = other.after(event("progress", stage="c", step=11, steps=20, index=0), 1003.5)
    assert late.fraction == other.fraction
    assert other.preview == "/v1/p"
    assert other.after(event("image", index=0), 1004.0) == other


def test_the_time_follows_the_pace_of_the_job(make_job: JobMaker) -> None:
    snapshot = Snapshot.of(make_job(state="running", eta_s=5.0), 1000.0)
    snapshot = replace(snapshot, stages=STAGES)
    snapshot = snapshot.after(event("progress", stage="c", step=1, steps=20, index=0), 1000.0)
    assert snapshot.done_at == 1005  # no pace is known yet: the service's estimate
    for step in range(2, 11):
        at_s = 1000.0 + 10 * (step - 1)
        snapshot = snapshot.after(event("progress", stage="c", step=step, steps=20, index=0), at_s)
    # 3 % of the work every 10 s: after 30 % there are 70 % to come.
    assert snapshot.done_at == pytest.approx(1090 + 90 * 0.7 / 0.27, abs=1)


def test_a_service_that_does_not_answer_is_told_until_it_does(make_job: JobMaker) -> None:
    snapshot = Snapshot.of(make_job(state="running", eta_s=50.0), 1000.0)
    lost = snapshot.after(event(LOST), 1001.0)
    assert lost.is_lost
    assert lost.is_worth_an_edit(snapshot)
    assert not lost.after(event(LOST), 1002.0).is_worth_an_edit(lost)
    assert not lost.after(event(FOUND), 1003.0).is_lost


def test_the_bar_of_a_variation_begins_at_its_beginning(make_job: JobMaker) -> None:
    job = make_job(kind="vary_details", latent_id="LAT0")
    snapshot = replace(Snapshot.of(job, 0.0), stages=MODEL.route(job.kind))
    first = snapshot.after(event("progress", stage="b", step=1, steps=10, index=0), 0.0)
    assert first.fraction == pytest.approx(0.1 * 0.35 / 0.4)


def test_stages_that_the_service_has_not_told_are_named_without_a_bar(make_job: JobMaker) -> None:
    snapshot = Snapshot.of(make_job(state="running"), 0.0)
    moved = snapshot.after(event("progress", stage="plan", step=1, steps=10, index=0), 0.0)
    assert (moved.stage_title, moved.step, moved.fraction) == ("plan", 1, 0.0)
    plan = StageInfo(name="plan", title="Planning", share=0.25)
    told = replace(moved, stages=(plan, *STAGES)).after(
        event("progress", stage="plan", step=5, steps=10, index=0), 1.0
    )
    assert (told.stage_title, told.fraction) == ("Planning", pytest.approx(0.125 / 1.25))
