from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from serve.autoscaling.demand import Demand
from serve.jobs.workflow import JobWorkflow
from serve.storage.blobs.blob_store import BlobStore
from serve.storage.database import Database
from tests.serve.null_stages import Stage, launched


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, new_database_url: Callable[[str], str]) -> str:
    return new_database_url(request.param)


@pytest_asyncio.fixture
async def workflow(
    database: Database,
    database_url: str,
    blobs: BlobStore,
    stages: dict[str, Stage],
    demand: Demand,
) -> AsyncIterator[JobWorkflow]:
    """Runs jobs without checkers; modules with a checker override this."""
    async with launched(database, database_url, blobs, stages, demand=demand) as workflow:
        yield workflow
