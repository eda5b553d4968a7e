"""Checks whether a job would run now: asks the deployments, the database and the blob store."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable

from cascade_core.errors import CascadeError
from serve.gateway.jobs_client import JobsClient
from serve.storage.blobs.blob_store import BlobStore
from serve.storage.database import Database

READY = "ready"
READY_TIMEOUT_S = 5.0
KEPT_S = 2.0

logger = logging.getLogger(__name__)


class Readiness:
    """Checks what a job needs; all requests within two seconds share one check.

    ``/readyz`` needs no key, and a check writes to the blob store.

    Args:
        database, blobs: probed.
        jobs: says which deployments are ready.
    """

    def __init__(self, database: Database, blobs: BlobStore, jobs: JobsClient) -> None:
        self._database = database
        self._blobs = blobs
        self._jobs = jobs
        self._checking: asyncio.Task[dict[str, str]] | None = None
        self._began_at_s = -math.inf

    async def checks(self) -> dict[str, str]:
        """Return the state of each part: ``ready``, or what is wrong, for an operator."""
        now_s = asyncio.get_running_loop().time()
        is_old = now_s - self._began_at_s >= KEPT_S
        if self._checking is None or (self._checking.done() and is_old):
            self._checking, self._began_at_s = asyncio.create_task(self._check()), now_s
        return await asyncio.shield(self._checking)

    async def _check(self) -> dict[str, str]:
        deployments, database, blobs = await asyncio.gather(
            self._deployments(),
            _outcome("database", self._database.run(self._database.probe)),
            _outcome("blobs", self._blobs.probe()),
        )
        return deployments | {"database": database, "blobs": blobs}

    async def _deployments(self) -> dict[str, str]:
        try:
            async with asyncio.timeout(READY_TIMEOUT_S):
                return dict(await self._jobs.ready())
        except TimeoutError:
            return {"jobs": f"no answer in {READY_TIMEOUT_S:g} s"}
        except CascadeError as error:
            return {"jobs": error.for_operator}
        except Exception:
            logger.exception("asking the deployments failed")
            return {"jobs": "does not answer"}


async def _outcome(name: str, probe: Awaitable[None]) -> str:
    try:
        async with asyncio.timeout(READY_TIMEOUT_S):
            await probe
    except TimeoutError:
        return f"no answer in {READY_TIMEOUT_S:g} s"
    except CascadeError as error:
        return error.for_operator
    except Exception:
        logger.exception("probing %s failed", name)
        return "does not answer"
    return READY
