"""What the gateway needs from the rest of the service."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from cascade_core.checkpoints.checkpoint import Checkpoint
from cascade_core.request import GenerationRequest
from serve.gateway.waiting_clients import Waiters
from serve.moderation.moderator import Moderator
from serve.settings import Settings
from serve.storage.blobs.blob_store import BlobStore
from serve.storage.blobs.converted_images import Conversions
from serve.storage.database import Database
from serve.storage.records import Claim, JobOwner


class JobsDoor(Protocol):
    """The way to the process that runs jobs."""

    async def submit(
        self,
        request: GenerationRequest,
        client_state: dict[str, Any] | None,
        owner: JobOwner,
        claim: Claim,
    ) -> str:
        """Record and start a job; returns its id, or that of the job it was accepted as before.

        Raises:
            NotReady: the service is draining.
            IdempotencyMismatch: the claim was made for another request.
        """
        ...

    async def cancel(self, job_id: str) -> bool:
        """Cancel a job; False if it had ended already."""
        ...

    async def replicas(self) -> dict[str, int]:
        """Return how many replicas of each deployment answer."""
        ...

    async def ready(self) -> dict[str, str]:
        """Return each deployment's state: ``ready``, or why it is not."""
        ...


@dataclass(frozen=True, slots=True)
class Services:
    """The gateway's collaborators.

    Attributes:
        checkpoint: the loaded model's identity and defaults; no weights.
        jobs: the way to the jobs.
        moderator: asks the checkers about requests.
        waiters: which requests wait for which jobs.
        conversions: makes pictures in other formats.
        knows_clients: requests come from the address of who asks, not from a proxy's.
    """

    settings: Settings
    database: Database
    blobs: BlobStore
    checkpoint: Checkpoint
    jobs: JobsDoor
    moderator: Moderator
    waiters: Waiters = field(default_factory=Waiters)
    conversions: Conversions = field(default_factory=Conversions)
    knows_clients: bool = True
