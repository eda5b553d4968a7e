from __future__ import annotations

import asyncio
import io
import json
import logging
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import pytest_asyncio
import uvicorn
from fastapi import FastAPI

from cascade_core.checkpoints.checkpoint import Checkpoint
from cascade_core.families.spec import Family
from cascade_core.families.stable_cascade import STABLE_CASCADE
from cascade_core.geometry import Geometry
from cascade_core.model_defaults import ModelDefaults
from cascade_core.request import GenerationRequest
from serve.checker import Checker
from serve.gateway.application import create_app
from serve.gateway.dependencies import Services
from serve.gateway.events.event_hub import EventHub
from serve.moderation.moderator import Moderator
from serve.proxies.http_protocol import HTTPProtocol
from serve.settings import Settings
from serve.storage.access.credentials import KeyScope, KeyStore
from serve.storage.blobs.blob_store import BlobStore
from serve.storage.database import Database
from serve.storage.records import JobIdentity, JobOwner, NewJob
from serve.telemetry.log import JsonFormatter, TextFormatter
from tests.limits import HANG_S
from tests.migrated import migrate, with_tables
from tests.private_postgres import PrivatePostgres
from tests.s3_server import new_bucket
from tests.serve.fake_jobs_client import FakeJobsClient, plan
from tests.serve.served import served

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

JobMaker = Callable[..., NewJob]
Bearer = Callable[..., dict[str, str]]
KEEP_ALIVE_S = 0.2


@pytest.fixture(scope="session", autouse=True)
def engine_stops_quickly() -> Iterator[None]:
    """Let DBOS look for notifications often: its stop waits for the next look, 1 s by default."""
    from dbos import DBOSConfig

    from serve.jobs import dbos_runtime

    with pytest.MonkeyPatch.context() as patch:
        quick = partial(DBOSConfig, notification_listener_polling_interval_sec=0.01)
        patch.setattr(dbos_runtime, "DBOSConfig", quick)
        yield


@pytest.fixture
def restored_loggers() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in ("serve", "cascade_core")]
    before = [(logger.handlers[:], logger.level, logger.propagate) for logger in loggers]
    yield
    for logger, (handlers, level, propagate) in zip(loggers, before, strict=True):
        logger.handlers[:] = handlers
        logger.setLevel(level)
        logger.propagate = propagate


@pytest.fixture
def new_postgres_url(request: pytest.FixtureRequest) -> Iterator[Callable[..., str]]:
    """Makes a PostgreSQL database, empty or the copy of one, which the test's end deletes."""
    with ExitStack() as at_end:

        def make(copied_url: str = "") -> str:
            server: PrivatePostgres = request.getfixturevalue("postgres")
            url = server.new_database(copied_url)
            at_end.callback(server.drop_database, url)
            return url

        yield make


@pytest.fixture
def empty_database_url(
    tmp_path: Path, new_postgres_url: Callable[..., str]
) -> Callable[[str], str]:
    """Makes an empty database of a kind, ``sqlite`` or ``postgresql``."""
    numbers = count()

    def make(kind: str) -> str:
        if kind == "postgresql":
            return new_postgres_url()
        return f"sqlite:///{tmp_path / 'data' / f'cascade{next(numbers)}.db'}"

    return make


@pytest.fixture(scope="session")
def migrated_postgres_url(postgres: PrivatePostgres) -> str:
    """A PostgreSQL database with all tables, to be copied; nothing is connected to it."""
    url = postgres.new_database()
    migrate(url)
    return url


@pytest.fixture
def new_database_url(
    empty_database_url: Callable[[str], str],
    new_postgres_url: Callable[..., str],
    request: pytest.FixtureRequest,
) -> Callable[[str], str]:
    """Makes a database of a kind, ``sqlite`` or ``postgresql``, with all tables."""

    def make(kind: str) -> str:
        if kind == "postgresql":
            return new_postgres_url(request.getfixturevalue("migrated_postgres_url"))
        return with_tables(empty_database_url(kind))

    return make


@pytest.fixture
def database_url(new_database_url: Callable[[str], str]) -> str:
    """A SQLite file; modules that test the database override this to test both kinds."""
    return new_database_url("sqlite")


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    yield database
    database.close()


@pytest.fixture
def make_request() -> Callable[..., GenerationRequest]:
    def make(**changes: Any) -> GenerationRequest:
        values: dict[str, Any] = {
            "prompt": "a red circle",
            "width": 256,
            "height": 256,
            "seed": 7,
            "decoder_seed": 7,
        }
        return GenerationRequest(**values | changes)

    return make


@pytest.fixture
def make_job(make_request: Callable[..., GenerationRequest]) -> JobMaker:
    numbers = count()

    def make(
        user: str | None = None,
        client_state: dict[str, Any] | None = None,
        family: Family = STABLE_CASCADE,
        **changes: Any,
    ) -> NewJob:
        identity = JobIdentity(f"{next(numbers):04}", None, "digest")
        owner = JobOwner(None, user)
        return plan(identity, make_request(**changes), client_state, owner, family)

    return make


@pytest.fixture
def checkpoint_id() -> str:
    return "demo"


@pytest.fixture
def checkpoint(checkpoint_id: str) -> Checkpoint:
    return Checkpoint(
        family="stable_cascade",
        id=checkpoint_id,
        revision="r1",
        fingerprint="f1",
        licence="Apache-2.0",
        geometry=Geometry(),
        defaults=ModelDefaults(
            width=256,
            height=384,
            max_side=512,
            steps=12,
            guidance_scale=3.0,
            decoder_steps=6,
            suggestions=("a red circle",),
        ),
        components={},
        picture_encoder=Path("encoder"),
    )


@pytest.fixture
def new_blob_url(
    tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], str]:
    """Makes an empty blob store of a kind, ``folder`` or ``s3``."""
    numbers = count()

    def make(kind: str) -> str:
        if kind == "s3":
            return new_bucket(request.getfixturevalue("s3_server"), monkeypatch)
        return (tmp_path / "with space" / f"blobs{next(numbers)}").as_uri()

    return make


@pytest.fixture
def blobs(new_blob_url: Callable[[str], str]) -> BlobStore:
    """A folder; modules that test the store override this to test S3, too."""
    return BlobStore(new_blob_url("folder"))


@pytest.fixture
def fake_jobs(database: Database, blobs: BlobStore, checkpoint: Checkpoint) -> FakeJobsClient:
    return FakeJobsClient(database, blobs, checkpoint)


@pytest.fixture
def sync_wait_s() -> float:
    return 60.0


@pytest.fixture
def checkers() -> list[Checker]:
    """None; modules that test moderation override this."""
    return []


@pytest.fixture
def services(
    tmp_path: Path,
    database: Database,
    blobs: BlobStore,
    checkpoint: Checkpoint,
    fake_jobs: FakeJobsClient,
    sync_wait_s: float,
    checkers: list[Checker],
) -> Services:
    settings = Settings(data_dir=tmp_path, sync_wait_s=sync_wait_s)
    moderator = Moderator(checkers, lambda *_: None)
    services = Services(
        settings=settings,
        database=database,
        blobs=blobs,
        models=served(checkpoint=checkpoint),
        jobs=fake_jobs,
        moderator=moderator,
        signer=fake_jobs.signer,
        keep_alive_s=KEEP_ALIVE_S,
    )
    services.event_hub = EventHub(database, poll_s=0.01)  # nothing tells it of new events
    return services


@pytest.fixture
def app(services: Services) -> FastAPI:
    return create_app(services)


@pytest_asyncio.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield client


@pytest_asyncio.fixture
async def openai_client(live_client: httpx.AsyncClient) -> AsyncIterator[AsyncOpenAI]:
    """OpenAI's own client, over a real socket; it tries nothing twice."""
    from openai import AsyncOpenAI

    url = live_client.base_url.join("/v1")
    async with AsyncOpenAI(base_url=str(url), api_key="any", max_retries=0) as client:
        yield client


@pytest.fixture
def running(fake_jobs: FakeJobsClient) -> FakeJobsClient:
    """The service makes what is asked for."""
    fake_jobs.on_submit = fake_jobs.run
    return fake_jobs


@pytest.fixture
def submitted(fake_jobs: FakeJobsClient) -> asyncio.Queue[str]:
    """The ids of accepted jobs, which run until a test ends them."""
    ids: asyncio.Queue[str] = asyncio.Queue()
    fake_jobs.on_submit = ids.put
    return ids


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """What the live service listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@pytest_asyncio.fixture
async def live_client(app: FastAPI, listener: socket.socket) -> AsyncIterator[httpx.AsyncClient]:
    """A client over a real socket: the in-process transport cannot stream or disconnect."""
    port = listener.getsockname()[1]
    # Ray Serve insists on the lifespan, too; by default uvicorn goes on when its start fails.
    # A client that a failed test left behind must not keep the server, and so the run, up.
    config = uvicorn.Config(
        app,
        http=HTTPProtocol,
        log_level="error",
        lifespan="on",
        timeout_graceful_shutdown=5,
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=HANG_S) as client:
        yield client
    server.should_exit = True
    await serving


@pytest.fixture
def keys(database: Database) -> KeyStore:
    return database.keys


@pytest.fixture
def bearer(keys: KeyStore) -> Bearer:
    """Makes a key and returns the header that shows it."""

    def make(*scopes: KeyScope, per_minute: int = 0) -> dict[str, str]:
        _, token = keys.create("test", scopes, per_minute)
        return {"authorization": f"Bearer {token}"}

    return make


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """All that would be on stderr, down to DEBUG."""
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(TextFormatter())
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield out
    root.removeHandler(handler)
    root.setLevel(before)


@pytest.fixture(scope="session")
def exporter() -> Iterator[InMemorySpanExporter]:
    """The process's only one: OpenTelemetry takes a provider once."""
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    yield exporter
    provider.shutdown()


@pytest.fixture
def records() -> Iterator[list[dict[str, Any]]]:
    """All that the service logs, as JSON lines."""
    lines: list[dict[str, Any]] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(json.loads(JsonFormatter().format(record)))

    handler, logger = Keep(), logging.getLogger("serve")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel("INFO")
    yield lines
    logger.removeHandler(handler)
    logger.setLevel(level)
