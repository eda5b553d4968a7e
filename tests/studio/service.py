"""The real service in this process, on a real port, for pages in a browser."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from cascade_core.checkpoints.checkpoint import open_checkpoint
from serve.gateway.application import create_app
from serve.gateway.dependencies import Services
from serve.gateway.events.event_hub import EventHub
from serve.moderation.moderator import Moderator
from serve.proxies.http_protocol import HTTPProtocol
from serve.settings import Settings
from serve.storage.access.credentials import KeyScope
from serve.storage.blobs.blob_store import BlobStore
from serve.storage.database import Database
from tests.migrated import with_tables
from tests.serve.fake_jobs_client import FakeJobsClient
from tests.serve.served import served

_POLL_S = 0.01


@dataclass(frozen=True)
class Service:
    """The demo model's service. It and the tests share one event loop.

    Attributes:
        url: where it answers.
        services: what its routes share.
        jobs: makes what is asked for at once; a test may set ``on_submit`` to move jobs by hand.
    """

    url: str
    services: Services
    jobs: FakeJobsClient

    def new_key(self, *scopes: KeyScope) -> str:
        """Make an API key and return it; from then on every request needs a key."""
        return self.services.database.keys.create("test", scopes)[1]


def make_at_once(jobs: FakeJobsClient) -> None:
    """Have each job done when it is submitted, continued or redone; drafts up to their stop."""

    async def begin(job_id: str) -> None:
        job = jobs.database.jobs.get(job_id)
        assert job is not None
        await (jobs.draft if job.request.stop_after else jobs.run)(job_id)

    async def finish(job_id: str) -> None:
        job = jobs.database.jobs.get(job_id)
        assert job is not None
        assert job.choice is not None
        for index in job.choice.indices:
            await jobs.make_image(job_id, index)
        jobs.finish(job_id, "succeeded")

    jobs.on_submit, jobs.on_continue, jobs.on_redo = begin, finish, jobs.draft


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Service]:
    """Serve from a folder, which keeps the database and the pictures."""
    settings = Settings(data_dir=folder)
    checkpoint = open_checkpoint(settings.model_source(), components=())
    database = Database(with_tables(settings.database_url))
    blobs = BlobStore(settings.blob_url)
    jobs = FakeJobsClient(database, blobs, checkpoint)
    make_at_once(jobs)
    services = Services(
        settings=settings,
        database=database,
        blobs=blobs,
        models=served(checkpoint=checkpoint),
        jobs=jobs,
        moderator=Moderator([], lambda *_: None),
    )
    services.event_hub = EventHub(database, poll_s=_POLL_S)  # nothing tells it of new events
    with socket.create_server(("127.0.0.1", 0)) as listener:
        # A page that is still open must not keep the server up.
        config = uvicorn.Config(
            create_app(services),
            http=HTTPProtocol,
            log_level="error",
            lifespan="on",
            timeout_graceful_shutdown=1,
        )
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        yield Service(f"http://127.0.0.1:{listener.getsockname()[1]}", services, jobs)
        server.should_exit = True
        await serving
    database.close()
