"""One trace and one request id from HTTP to the stages, also when a job goes on later."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextvars import Context as VariableContext
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from cascade_core.errors import CascadeError, OutOfMemory
from cascade_core.request import GenerationRequest
from serve.jobs.dispatch.stage_client import StageResult
from serve.messages import ImageIds
from serve.settings import Settings
from serve.stages.deployments import StageDeployment
from serve.storage.blobs.blob_store import BlobStore
from serve.storage.database import Database
from serve.storage.records import NewJob
from serve.telemetry.log import current_context
from serve.telemetry.tracing import pack_context, unpacked_context
from tests.collector import collecting
from tests.limits import HANG_S
from tests.serve.fake_jobs_client import FakeJobsClient
from tests.serve.null_stages import Stage, launched, run_to_end
from tests.serve.served import DEMO

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"
CONTEXT = {"traceparent": TRACEPARENT, "request_id": "R1", "trace_id": TRACE}

JobMaker = Callable[..., NewJob]


@pytest.fixture(autouse=True)
def _nothing_seen_yet(exporter: InMemorySpanExporter) -> None:
    exporter.clear()


def spans(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in exporter.get_finished_spans()}


def parent(span: ReadableSpan) -> int | None:
    return span.parent.span_id if span.parent else None


def span_id(span: ReadableSpan) -> int:
    context = span.get_span_context()
    assert context is not None
    return context.span_id


def traces(exporter: InMemorySpanExporter) -> set[str]:
    contexts = [span.get_span_context() for span in exporter.get_finished_spans()]
    return {trace.format_trace_id(context.trace_id) for context in contexts if context}


async def test_a_request_goes_on_with_the_trace_of_its_client(
    client: httpx.AsyncClient,
    fake_jobs: FakeJobsClient,
    exporter: InMemorySpanExporter,
    records: list[dict[str, Any]],
) -> None:
    packed: list[dict[str, str]] = []

    async def on_submit(_job_id: str) -> None:
        packed.append(pack_context())

    fake_jobs.on_submit = on_submit
    headers = {"traceparent": TRACEPARENT, "x-request-id": "R1"}
    answer = await client.post("/v1/jobs", json={"prompt": "a fox"}, headers=headers)
    assert answer.status_code == 202
    (span,) = exporter.get_finished_spans()
    assert (span.name, traces(exporter)) == ("POST /v1/jobs", {TRACE})
    assert parent(span) == int(PARENT, 16)
    assert span.attributes is not None
    assert span.attributes["http.response.status_code"] == 202
    assert packed[0]["traceparent"] == f"00-{TRACE}-{trace.format_span_id(span_id(span))}-01"
    assert packed[0]["request_id"] == "R1"
    assert all((r["request_id"], r["trace_id"]) == ("R1", TRACE) for r in records)
    (accepted,) = [r for r in records if r["message"].startswith("accepted job")]
    assert accepted["job_id"] == answer.json()["id"]


async def test_probes_and_damaged_traceparents_make_no_foreign_trace(
    client: httpx.AsyncClient, exporter: InMemorySpanExporter
) -> None:
    await client.get("/healthz", headers={"traceparent": TRACEPARENT})
    assert exporter.get_finished_spans() == ()
    await client.get("/v1/models", headers={"traceparent": "00-zz-1-01"})
    (span,) = exporter.get_finished_spans()
    assert parent(span) is None


async def test_no_signature_of_a_link_gets_into_a_trace(
    client: httpx.AsyncClient, exporter: InMemorySpanExporter
) -> None:
    await client.get("/v1/shared/images/I1?expires=1&signature=5ec7e7")
    (span,) = exporter.get_finished_spans()
    assert "5ec7e7" not in span.to_json()


async def test_what_the_service_fails_to_answer_is_marked_in_its_trace(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, exporter: InMemorySpanExporter
) -> None:
    fake_jobs.error = RuntimeError("broken")
    assert (await client.post("/v1/jobs", json={"prompt": "a fox"})).status_code == 500
    (span,) = exporter.get_finished_spans()
    assert span.status.status_code is trace.StatusCode.ERROR


class TellingStage(Stage):
    """Keeps what each call would tell a replica; fails first if it should."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.told: list[dict[str, str]] = []
        self.error: CascadeError | None = None

    async def call(self, *args: Any, **listeners: Any) -> StageResult:
        self.told.append(pack_context())
        if self.error is not None:
            raise self.error
        return await super().call(*args, **listeners)


@pytest.fixture
def stages() -> dict[str, TellingStage]:
    return {name: TellingStage(name) for name in ("c", "b", "a")}


@pytest.fixture
async def run(
    database: Database,
    database_url: str,
    blobs: BlobStore,
    stages: dict[str, TellingStage],
    make_job: JobMaker,
) -> AsyncIterator[Callable[..., Any]]:
    """Records a job with the context of a request and runs it where nothing is known of that."""
    async with launched(database, database_url, blobs, stages) as workflow:

        async def run(**request: Any) -> Any:
            job = replace(make_job(**request), context=CONTEXT)
            here = run_to_end(workflow, database, job)
            return await asyncio.create_task(here, context=VariableContext())

        yield run


async def test_a_job_that_only_its_row_knows_stays_in_the_trace_of_its_request(
    run: Callable[..., Any],
    stages: dict[str, TellingStage],
    exporter: InMemorySpanExporter,
    records: list[dict[str, Any]],
) -> None:
    ended = await run()
    assert ended.state == "succeeded"
    found = spans(exporter)
    assert {"job", "stage c", "stage b", "stage a", "store of stage c"} <= found.keys()
    assert traces(exporter) == {TRACE}
    assert parent(found["job"]) == int(PARENT, 16)
    for name, stage in stages.items():
        assert parent(found[f"stage {name}"]) == span_id(found["job"])
        sent = f"00-{TRACE}-{trace.format_span_id(span_id(found[f'stage {name}']))}-01"
        (told,) = stage.told
        ids = {"request_id": "R1", "job_id": ended.id, "trace_id": TRACE}
        assert told == ids | {"traceparent": sent}
    loggers = ("serve.jobs.workflow", "serve.jobs.dispatch.dispatcher")
    lines = [line for line in records if line["logger"] in loggers]
    told_by_calls = [
        line["message"] for line in lines if line["logger"] == "serve.jobs.dispatch.dispatcher"
    ]
    assert [text.split(",")[0] for text in told_by_calls] == ["stage c", "stage b", "stage a"]
    assert all((r["request_id"], r["job_id"]) == ("R1", ended.id) for r in lines)
    assert lines[-1]["message"].startswith("job succeeded after ")


async def test_all_images_of_a_job_are_in_one_trace(
    run: Callable[..., Any], stages: dict[str, TellingStage], exporter: InMemorySpanExporter
) -> None:
    ended = await run(n=3)
    assert traces(exporter) == {TRACE}
    assert {told["job_id"] for stage in stages.values() for told in stage.told} == {ended.id}
    assert [len(stage.told) for stage in stages.values()] == [3, 3, 3]


async def test_a_failed_stage_is_marked_and_the_log_names_the_code(
    run: Callable[..., Any],
    stages: dict[str, TellingStage],
    exporter: InMemorySpanExporter,
    records: list[dict[str, Any]],
) -> None:
    stages["b"].error = OutOfMemory("no memory")
    assert (await run()).state == "failed"
    found = spans(exporter)
    assert found["stage b"].status.status_code is trace.StatusCode.ERROR
    assert found["job"].status.description == "cannot_be_served"
    assert found["stage c"].status.is_ok or found["stage c"].status.is_unset
    assert any("job failed (cannot_be_served)" in record["message"] for record in records)


@pytest.mark.usefixtures("restored_loggers")
async def test_a_stage_goes_on_with_trace_and_ids_of_the_job_that_calls_it(
    tmp_path: Path, exporter: InMemorySpanExporter, records: list[dict[str, Any]]
) -> None:
    stage = StageDeployment(DEMO, "c", Settings(data_dir=tmp_path, device="cpu"))
    ids = ImageIds(image_id="I1", latent_id="L1")
    request = GenerationRequest(
        prompt="a red circle", width=256, height=256, seed=1, decoder_seed=1, steps=1
    )
    context = CONTEXT | {"job_id": "J1"}

    async def call() -> None:
        async for _ in stage.run(request.to_dict(), None, ids, True, context):
            pass

    await asyncio.create_task(call())
    assert current_context() == {}
    (span,) = exporter.get_finished_spans()
    assert (span.name, parent(span)) == ("replica of stage c", int(PARENT, 16))
    assert [event.name for event in span.events] == ["on the model", "off the model"]
    (line,) = [line for line in records if line["logger"] == "serve.stages.deployments"]
    assert (line["request_id"], line["job_id"], line["trace_id"]) == ("R1", "J1", TRACE)


async def test_a_trace_that_is_under_way_is_not_left_for_a_stored_one() -> None:
    with unpacked_context(CONTEXT), trace.get_tracer("test").start_as_current_span("here"):
        inner = trace.get_current_span()
        with unpacked_context(CONTEXT | {"traceparent": TRACEPARENT.replace("b7", "c7")}):
            assert trace.get_current_span() is inner
    assert pack_context() == {}


def in_a_process_of_its_own(endpoint: str) -> str:
    """Make a span as a replica would; returns what was loaded for it."""
    code = """
import sys
from serve.settings import Settings
from serve.telemetry.tracing import configure_tracing, span
configure_tracing(Settings(), "stage-c")
with span("work", image=3):
    pass
print(*sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"CASCADE_OTLP_ENDPOINT": endpoint},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_spans_reach_the_collector_with_the_name_of_their_process() -> None:
    with collecting() as collector:
        in_a_process_of_its_own(collector.url)
        process, span = collector.spans.get(timeout=HANG_S)
    assert (process, span.name) == ("cascade-stage-c", "work")
    assert (span.attributes[0].key, span.attributes[0].value.int_value) == ("cascade.image", 3)


def test_without_a_collector_no_part_of_the_recorder_is_loaded() -> None:
    assert not {"opentelemetry.sdk.trace", "requests"} & set(in_a_process_of_its_own("").split())
