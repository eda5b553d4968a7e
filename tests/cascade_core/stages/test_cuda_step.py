"""How a step on a CUDA device is marked and awaited, with events that write down what happens."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from cascade_core.stages.cuda_step import launch


class NotedEvent:
    """Stands for an event of CUDA; 250 ms lie between any two."""

    def __init__(self, story: list[str]) -> None:
        self.story = story

    def record(self, stream: str) -> None:
        self.story.append(f"recorded on {stream}")

    def synchronize(self) -> None:
        self.story.append("awaited")

    def elapsed_time(self, _later: NotedEvent) -> float:
        return 250.0


def test_a_step_on_cuda_lies_between_two_events_and_only_waiting_for_it_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    story: list[str] = []
    options: list[dict[str, Any]] = []

    def make(**given: bool) -> NotedEvent:
        options.append(given)
        return NotedEvent(story)

    monkeypatch.setattr(torch.cuda, "Event", make)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: f"the stream of {device}")
    step = launch(lambda: story.append("launched"), torch.device("cuda", 1))

    recorded = "recorded on the stream of cuda:1"
    assert story == [recorded, "launched", recorded]
    assert step is not None
    assert step.wait() == 0.25
    assert story[3:] == ["awaited"]
    assert options == [{"enable_timing": True, "blocking": True}] * 2


def test_a_step_on_another_device_is_done_at_once() -> None:
    story: list[str] = []
    assert launch(lambda: story.append("done"), torch.device("cpu")) is None
    assert story == ["done"]
