"""The real gateway on a real port, with a stand-in for the process that runs jobs."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI

from cascade_core.checkpoints.checkpoint import Checkpoint
from cascade_core.geometry import Geometry
from cascade_core.model_defaults import ModelDefaults
from serve.gateway.application import create_app
from serve.gateway.dependencies import Services
from serve.moderation.moderator import Moderator
from serve.settings import Settings
from serve.storage.blobs.blob_store import BlobStore
from serve.storage.database import Database
from tests.migrated import with_tables
from tests.serve.fake_jobs_client import FakeJobsClient
from tests.serve.served import served

CHECKPOINT = Checkpoint(
    family="stable_cascade",
    id="demo",
    revision="r1",
    fingerprint="f1",
    licence="Apache-2.0",
    geometry=Geometry(),
    defaults=ModelDefaults(
        width=256,
        height=256,
        max_side=512,
        steps=12,
        guidance_scale=3.0,
        decoder_steps=6,
        suggestions=("a red circle", "a blue ring"),
    ),
    components={},
    previewer=Path("preview.json"),
    picture_encoder=Path("encoder"),
)


class Service:
    """A gateway that can be stopped and started again on its port, with what it knows kept."""

    def __init__(
        self,
        folder: Path,
        checkpoint: Checkpoint = CHECKPOINT,
        fake_jobs: type[FakeJobsClient] = FakeJobsClient,
        **settings: Any,
    ) -> None:
        chosen = Settings(data_dir=folder, **settings)
        self.database = Database(with_tables(chosen.database_url))
        self.fake_jobs = fake_jobs(self.database, BlobStore(chosen.blob_url), checkpoint)
        self.submitted: asyncio.Queue[str] = asyncio.Queue()
        self.fake_jobs.on_submit = self.submitted.put
        services = Services(
            settings=chosen,
            database=self.database,
            blobs=self.fake_jobs.blobs,
            models=served(checkpoint=checkpoint),
            jobs=self.fake_jobs,
            moderator=Moderator((), lambda *_: None),
            keep_alive_s=0.2,
        )
        self._app = create_app(services)
        self._listener: socket.socket | None = None
        self._port = 0
        self._server: uvicorn.Server | None = None
        self._serving: asyncio.Task[None] | None = None
        self._key = ""

    @property
    def app(self) -> FastAPI:
        """The application itself."""
        return self._app

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self._port}"

    def make_key(self) -> str:
        """Return the kind of key that a bot has, the same one each time."""
        if not self._key:
            store = self.database.keys
            _, self._key = store.create("bot", ["read", "create", "review", "trusted"], 0)
        return self._key

    async def start(self) -> None:
        """Begin to answer."""
        await self.stop()
        self._listener = socket.create_server(("127.0.0.1", self._port))
        self._port = self._listener.getsockname()[1]
        config = uvicorn.Config(self._app, log_level="error", ws="none", lifespan="off")
        self._server = uvicorn.Server(config)
        self._serving = asyncio.create_task(self._server.serve(sockets=[self._listener]))

    async def stop(self) -> None:
        """Break every connection and take none."""
        if self._server is not None and self._serving is not None:
            self._server.should_exit = self._server.force_exit = True
            await self._serving
            for connection in list(self._server.server_state.connections):
                connection.transport.abort()  # uvicorn leaves those open that are in use
            self._server = None
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    async def hang(self) -> None:
        """Break every connection, and take new ones without ever answering."""
        await self.stop()
        self._listener = socket.create_server(("127.0.0.1", self._port))

    async def succeed(self, job_id: str) -> None:
        """Bring a job to its good end."""
        await self.fake_jobs.run(job_id)


@asynccontextmanager
async def running_service(folder: Path, **settings: Any) -> AsyncIterator[Service]:
    """Run a service until the block is left."""
    service = Service(folder, **settings)
    await service.start()
    try:
        yield service
    finally:
        await service.stop()
        await service.app.state.services.event_hub.close()
        service.database.close()
