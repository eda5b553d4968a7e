"""What becomes of the jobs of a model that is gone, or has become another one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import httpx
import pytest

from cascade_core.checkpoints.checkpoint import Checkpoint
from cascade_core.errors import NotReady
from cascade_core.families.flow import FLOW
from cascade_core.families.stable_cascade import STABLE_CASCADE
from cascade_core.handoff import ModelRef
from serve.gateway.dependencies import Services
from serve.jobs.deployment import Jobs
from serve.served_models import Models, OpenModel
from serve.settings import Settings
from serve.storage.blobs.blob_store import BlobStore
from serve.storage.database import Database
from serve.storage.records import NewJob
from tests.serve.api_calls import drafted
from tests.serve.fake_jobs_client import FakeJobsClient
from tests.serve.null_stages import Stage, launched, run_to_end
from tests.serve.served import DEMO

GONE = "the job's model, 'me/gone', cannot be used; served here: 'demo'"


@pytest.fixture
def checkpoint(checkpoint: Checkpoint) -> Checkpoint:
    return replace(checkpoint, previewer=checkpoint.picture_encoder)


@pytest.fixture
def demo_alone(services: Services) -> Models:
    """What is served once the second model is gone; until then both are, that one first."""
    alone = services.models
    lost = replace(alone.default.checkpoint, id="me/gone", fingerprint="f2")
    services.models = Models([OpenModel(STABLE_CASCADE.served_as("gone"), lost), alone.default])
    return alone


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "me/gone"}, GONE),
        ({"kind": "vary_details", "latent_id": "L"}, "demo cannot do vary_details"),
        ({"stop_after": "c"}, "stop_after must be d, the stage whose output is stored"),
    ],
)
async def test_an_open_job_that_can_no_longer_be_made_fails_and_says_why(
    database: Database,
    database_url: str,
    blobs: BlobStore,
    make_job: Callable[..., NewJob],
    changes: dict[str, str],
    message: str,
) -> None:
    stages = {name: Stage(name) for name in FLOW.names}
    async with launched(database, database_url, blobs, stages, family=FLOW) as workflow:
        ended = await run_to_end(workflow, database, make_job(**changes))
    assert (ended.state, (ended.error or {})["message"]) == ("failed", message)


@pytest.mark.parametrize("route", ["continue", "redo"])
async def test_a_waiting_job_of_a_model_that_is_gone_goes_on_no_more_but_the_answer_stays(
    client: httpx.AsyncClient,
    fake_jobs: FakeJobsClient,
    services: Services,
    demo_alone: Models,
    route: str,
) -> None:
    fake_jobs.model = ModelRef("me/gone", "r1", "f2")
    paths = [f"/v1/jobs/{(await drafted(client, fake_jobs))['id']}/{route}" for _ in range(2)]
    asked = {"json": {"indices": [0]}, "headers": {"Idempotency-Key": "k"}}
    first = await client.post(paths[0], **asked)  # type: ignore[arg-type]  # one of two types
    services.models = demo_alone
    again = await client.post(paths[0], **asked)  # type: ignore[arg-type]
    refused = await client.post(paths[1], json={"indices": [0]})
    assert (first.status_code, again.status_code, refused.status_code) == (202, 202, 404)
    assert refused.json()["error"]["message"] == GONE


async def test_a_stream_that_is_asked_for_again_needs_no_model(
    client: httpx.AsyncClient,
    fake_jobs: FakeJobsClient,
    services: Services,
    submitted: asyncio.Queue[str],
    demo_alone: Models,
) -> None:
    body = {"prompt": "x", "stream": True, "partial_images": 1}
    asked = partial(
        client.post, "/v1/images/generations", json=body, headers={"Idempotency-Key": "k"}
    )
    first = asyncio.create_task(asked())
    await fake_jobs.run(await submitted.get())
    made_first = await first
    services.models = demo_alone
    assert "image_generation.completed" in made_first.text
    assert "image_generation.completed" in (await asked()).text


async def test_the_jobs_process_knows_the_further_names_of_the_first_model_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job that was accepted under the model's earlier name goes on under the new one."""
    known: list[Models] = []

    def build(_settings: Settings, models: Models, *_rest: object) -> None:
        known.append(models)
        raise NotReady("no more is needed")

    for name in ("configure_logging", "configure_tracing"):
        monkeypatch.setattr(f"serve.jobs.deployment.{name}", lambda *_: None)
    monkeypatch.setattr("serve.jobs.deployment.open_stores", lambda *_: (None, None))
    monkeypatch.setattr("serve.jobs.deployment.build_services", build)
    renamed = Settings(data_dir=tmp_path, model_aliases="before")
    with pytest.raises(NotReady):
        await Jobs.__init__(object.__new__(Jobs), renamed, [DEMO], {})  # type: ignore[misc]
    assert known[0].find("before").id == "demo"
