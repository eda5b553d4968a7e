"""Following a job over streams that break."""

from __future__ import annotations

import pytest

from serve.cli.client import ServiceClient, Unreachable
from serve.cli.follow import follow
from tests.serve.cli.scripted_server import ScriptedService


class _Recorder:
    def __init__(self) -> None:
        self.steps: list[tuple[str, int, int, int]] = []
        self.pictures: list[int] = []

    def queued(self, position: int, eta_s: float | None) -> None:
        self.place = (position, eta_s)

    def picture(self, index: int) -> None:
        self.pictures.append(index)

    def step(self, stage: str, index: int, step: int, steps: int) -> None:
        self.steps.append((stage, index, step, steps))


def _follow(service: ScriptedService) -> tuple[dict[str, object], _Recorder]:
    recorder = _Recorder()
    with ServiceClient(service.url) as client:
        job = client.create_job({"kind": "generate", "prompt": "a red circle"})
        return follow(client, job["id"], recorder, sleep=lambda _: None), recorder


def test_every_step_is_told_in_order(service: ScriptedService) -> None:
    job, seen = _follow(service)
    assert job["state"] == "succeeded"
    assert seen.place == (1, 2.0)
    assert seen.pictures == [0]
    assert seen.steps == [(stage, 0, step, 2) for stage in "cba" for step in (1, 2)]


def test_a_broken_stream_is_resumed_after_the_last_event_seen(service: ScriptedService) -> None:
    service.break_stream_after = 3
    job, seen = _follow(service)
    assert job["state"] == "succeeded"
    assert service.resumed_from == ["", "3", "6"]
    assert seen.steps == [(stage, 0, step, 2) for stage in "cba" for step in (1, 2)]


def test_a_stream_that_keeps_breaking_is_replaced_by_polling(service: ScriptedService) -> None:
    service.break_stream_after = 0
    recorder = _Recorder()
    polls: list[float] = []

    with ServiceClient(service.url) as client:
        job_id = client.create_job({"kind": "generate", "prompt": "a red circle"})["id"]

        def pause(seconds: float) -> None:
            polls.append(seconds)
            state = {"state": "running", "stage": "c"}
            service.jobs[job_id] |= state | {"progress": {"step": 1, "steps": 2, "index": 0}}
            if len(polls) == 3:
                service.finish(job_id)

        job = follow(client, job_id, recorder, sleep=pause)
    assert job["state"] == "succeeded"
    assert ("c", 0, 1, 2) in recorder.steps
    assert len(service.resumed_from) == 3


def test_a_server_that_restarts_is_waited_for(service: ScriptedService) -> None:
    service.break_stream_after = 2
    service.restarts_left = 3
    job, seen = _follow(service)
    assert job["state"] == "succeeded"
    assert seen.steps[-1] == ("a", 0, 2, 2)
    assert service.restarts_left == 0


def test_a_server_that_stays_away_is_given_up_with_the_jobs_id(service: ScriptedService) -> None:
    service.break_stream_after = 2
    service.restarts_left = 10**6
    with pytest.raises(Unreachable, match="job JOB0 goes on"):
        _follow(service)
