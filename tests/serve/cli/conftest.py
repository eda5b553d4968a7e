"""Servers on the loopback interface, and the command line pointed at them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest
import uvicorn
from fastapi import FastAPI

from cascade_core.checkpoints.checkpoint import ModelSource, open_checkpoint
from serve.cli import checks
from serve.gateway.application import create_app
from serve.gateway.dependencies import Services
from serve.moderation.moderator import Moderator
from serve.settings import Settings
from serve.storage.blobs.blob_store import BlobStore
from serve.storage.database import Database
from tests.limits import HANG_S
from tests.migrated import with_tables
from tests.serve.cli.cascade import Cascade
from tests.serve.cli.scripted_server import ScriptedService, build_app
from tests.serve.fake_jobs_client import FakeJobsClient
from tests.serve.served import served


@pytest.fixture(scope="session", autouse=True)
def ray_is_imported_once() -> Iterator[None]:
    """Let the doctor try once whether Ray can be imported: the process that tries takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checks, "check_ray", cache(checks.check_ray))
        yield


@pytest.fixture
def service() -> Iterator[ScriptedService]:
    """A running server with scripted jobs."""
    script = ScriptedService()
    with _serving(build_app(script)) as url:
        script.url = url
        yield script
        script.cancelled.set()


@pytest.fixture
def cascade(service: ScriptedService) -> Cascade:
    """The command line, pointed at the scripted server."""
    return Cascade(service.url)


@pytest.fixture
def fake_jobs(tmp_path: Path) -> Iterator[FakeJobsClient]:
    """A stand-in that brings every job to its good end at once."""
    settings = Settings(data_dir=tmp_path / "data")
    database = Database(with_tables(settings.database_url))
    fake_jobs = FakeJobsClient(
        database, BlobStore(settings.blob_url), open_checkpoint(ModelSource())
    )
    fake_jobs.on_submit = fake_jobs.run
    yield fake_jobs
    database.close()


@pytest.fixture
def gateway_app(fake_jobs: FakeJobsClient, tmp_path: Path) -> FastAPI:
    """The gateway around the stand-in."""
    settings = Settings(data_dir=tmp_path / "data")
    checkpoint = open_checkpoint(ModelSource())
    moderator = Moderator([], lambda *_: None)
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


@pytest.fixture
def cascade_at_gateway(gateway_app: FastAPI) -> Iterator[Cascade]:
    """The command line, pointed at the gateway."""
    with _serving(gateway_app) as url:
        yield Cascade(url)


@contextmanager
def _serving(app: FastAPI) -> Iterator[str]:
    """Serve an application from a thread; yields its address."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline_s = time.monotonic() + HANG_S
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        assert time.monotonic() < deadline_s
        thread.join(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(HANG_S)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """A data folder and a port of the test's own."""
    monkeypatch.setenv("CASCADE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("CASCADE_HTTP_PORT", "0")
    return monkeypatch
