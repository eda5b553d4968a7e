"""Why a job was slow stands in its trace, in its log and in the metrics, in each alone."""

from __future__ import annotations

import asyncio
import logging
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from serve.jobs.dispatch.fair_queue import FairQueue
from serve.storage.blobs.blob_store import BlobStore
from serve.storage.database import Database
from serve.storage.records import NewJob
from serve.telemetry import metric_definitions as m
from serve.telemetry.metric_definitions import Metric
from tests.serve.null_stages import Stage, launched, make_dispatcher, run_to_end

WAITED_S, STORED_S, MODEL_S = 40.0, 7.0, 0.25

Figures = dict[tuple[str, str], float]
"""Seconds by stage and by what they went into."""


class Slow:
    """A clock that stands still, except where a job waits: before Stage B and after Stage A."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._latent_stored = asyncio.Event()

    def queue(self) -> FairQueue:
        """Return a queue whose slots always come late."""

        @asynccontextmanager
        async def slot(user: str, cost: float) -> AsyncIterator[None]:
            await self._latent_stored.wait()  # it is stored beside this wait, and takes no time
            self.now_s += WAITED_S
            async with FairQueue.slot(queue, user, cost):
                yield

        queue = FairQueue(1)
        queue.slot = slot  # type: ignore[method-assign]
        return queue

    def hear(self, record: logging.LogRecord) -> bool:
        """Learn from the log that the latent is stored, and how long that took."""
        if "latents/" in record.getMessage():
            self._latent_stored.set()
        return True

    def store(self, blobs: BlobStore) -> BlobStore:
        """Return a store that takes long for what Stage A made."""
        put = blobs.put

        async def put_slowly(key: str, data: bytes) -> None:
            self.now_s += STORED_S if key.startswith("images/") else 0.0
            await put(key, data)

        blobs.put = put_slowly  # type: ignore[method-assign]
        return blobs


@pytest.fixture
def metrics(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[str, tuple[str, ...]]]:
    """The sums of what is observed, by metric and labels, as Prometheus would have them."""
    sums: Counter[tuple[str, tuple[str, ...]]] = Counter()

    def recorder(metric: Metric) -> Any:
        def add(value: float = 1.0, *, tags: dict[str, str]) -> None:
            sums[metric.name, tuple(tags[name] for name in metric.labels)] += value  # type: ignore[assignment]

        return SimpleNamespace(observe=add, inc=add, set=lambda *_, **__: None)

    monkeypatch.setattr("serve.telemetry.metrics._recorder", recorder)
    return sums


def of_log(lines: list[dict[str, Any]]) -> Figures:
    found: Figures = {}
    for line in lines:
        if stage := re.match(r"stage (\w), ", line["message"]):
            for seconds, what in re.findall(r"([\d.]+) s (?:for|on|to) ([\w ]+)", line["message"]):
                found[stage[1], what] = float(seconds)
    return found


def documented() -> list[dict[str, Any]]:
    """Return the lines of the log that the page for operators shows."""
    page = (Path(__file__).parents[3] / "docs" / "observability.md").read_text()
    return [{"message": text} for text in re.findall(r"^    \S+Z  (stage .*)$", page, re.MULTILINE)]


def of_trace(spans: tuple[ReadableSpan, ...]) -> Figures:
    return {
        (span.name[-1], name.removeprefix("cascade.")): value
        for span in spans
        for name, value in (span.attributes or {}).items()
        if span.name.startswith("stage ") and isinstance(value, float)
    }


async def test_trace_log_and_metrics_each_tell_where_a_slow_job_was_held_up(
    database: Database,
    database_url: str,
    blobs: BlobStore,
    make_job: Callable[..., NewJob],
    exporter: InMemorySpanExporter,
    records: list[dict[str, Any]],
    metrics: Counter[tuple[str, tuple[str, ...]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slow = Slow()
    for module in (
        "serve.jobs.dispatch.dispatcher",
        "serve.jobs.stage_outputs",
        "serve.telemetry.metrics",
    ):
        monkeypatch.setattr(f"{module}.time", SimpleNamespace(monotonic=lambda: slow.now_s))
    monkeypatch.setattr(logging.getLogger("serve.jobs.stage_outputs"), "filters", [slow.hear])
    stages = {name: Stage(name) for name in "cba"}
    queues = {"c": FairQueue(1), "b": slow.queue(), "a": FairQueue(1)}
    calls = make_dispatcher(database, stages, queues)
    exporter.clear()
    async with launched(database, database_url, slow.store(blobs), stages, calls=calls) as workflow:
        job = replace(make_job(), context={"request_id": "R1"})
        assert (await run_to_end(workflow, database, job)).state == "succeeded"

    assert all((line["job_id"], line["request_id"]) == (job.id, "R1") for line in records)
    log = of_log(records)
    assert log["b", "its slot"] == WAITED_S
    assert log["a", "store"] == STORED_S
    assert {log[stage, "the model"] for stage in "cba"} == {MODEL_S}
    assert {what for _, what in log} == {what for _, what in of_log(documented())}
    assert sum(log.values()) == WAITED_S + STORED_S + 3 * MODEL_S

    spans = exporter.get_finished_spans()
    assert of_trace(spans) == {
        (stage, name): seconds
        for stage in "cba"
        for name, seconds in (
            ("queue_s", WAITED_S * (stage == "b")),
            ("turn_s", WAITED_S * (stage == "b")),
            ("model_s", MODEL_S),
        )
    }
    (whole,) = [span for span in spans if span.name == "job"]
    assert whole.attributes is not None
    assert whole.attributes["cascade.job_id"] == job.id
    parts = {span.name for span in spans if span.parent and span.parent == whole.context}
    assert {"stage b", "stage a", "store of stage a"} <= parts

    assert metrics[m.QUEUE_WAIT.name, ("b",)] == WAITED_S
    assert metrics[m.HANDOFF_SECONDS.name, ("a", "store")] == STORED_S
    observed = (m.QUEUE_WAIT.name, m.HANDOFF_SECONDS.name)
    assert sum(s for (name, _), s in metrics.items() if name in observed) == WAITED_S + STORED_S
