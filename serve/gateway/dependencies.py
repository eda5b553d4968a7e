"""What the routes depend on: the gateway's services, one typed object, and FastAPI parameters."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractContextManager
from functools import cached_property, partial
from typing import Annotated

from fastapi import Depends, Header, Request

from serve.gateway.auth.key_cache import KeyCache
from serve.gateway.auth.permissions import SCOPE_ENTRY, Caller
from serve.gateway.auth.signed_links import ShareLinks
from serve.gateway.events.event_hub import EventHub
from serve.gateway.events.sse import KEEP_ALIVE_S
from serve.gateway.jobs_client import JobsClient
from serve.gateway.limits import OwnerTurns, SharedImageLimiter, SignInLimiter, StreamLimiter
from serve.gateway.readiness import Readiness
from serve.gateway.waiting_clients import WaitingClients
from serve.moderation.moderator import Moderator
from serve.provenance.credentials import CredentialReader
from serve.provenance.picture_signer import PictureSigner
from serve.provenance.renditions import convert_signed
from serve.provenance.signing_key import read_trust
from serve.served_models import Models
from serve.settings import Settings
from serve.storage.blobs.blob_store import BlobStore
from serve.storage.blobs.converted_images import Conversions
from serve.storage.database import Database
from serve.watermarker import Watermarker

MAX_THUMBNAILS = 256
"""Running and waiting; one of a picture of 1024 px takes some 50 ms of a CPU."""


class Services:
    """Everything that the gateway's routes and middlewares share.

    Args:
        settings: of the service.
        database: jobs, images, latents, events and keys.
        blobs: their bytes.
        models: that make the images.
        jobs: reaches the process that runs jobs.
        moderator: asks the checkers about requests.
        signer: signs converted pictures; None: pictures are not signed.
        watermarker: finds watermarks; None: pictures have none.
        knows_clients: requests come from the client's own address, not from a proxy's.
        keep_alive_s: seconds between comments that keep idle event streams open; a stream outlives
            its revoked key by no more than this.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        database: Database,
        blobs: BlobStore,
        models: Models,
        jobs: JobsClient,
        moderator: Moderator,
        signer: PictureSigner | None = None,
        watermarker: Watermarker | None = None,
        knows_clients: bool = True,
        keep_alive_s: float = KEEP_ALIVE_S,
    ) -> None:
        self.settings = settings
        self.database = database
        self.blobs = blobs
        self.models = models
        self.jobs = jobs
        self.moderator = moderator
        self.knows_clients = knows_clients
        self.keep_alive_s = keep_alive_s
        self.signer = signer
        self.watermarker = watermarker
        self._trusted_pem = read_trust(settings) if signer is None else signer.trusted_pem
        convert = partial(convert_signed, signer)
        self.conversions = Conversions(convert=convert, signs=signer is not None)
        # A gallery asks for a screen of them at once.
        self.thumbnails = Conversions(threads=1, max_conversions=MAX_THUMBNAILS)
        # One at a time: the largest picture needs hundreds of megabytes while it is decoded.
        self.upload_decoding = Conversions(threads=1)
        self.upload_turns = OwnerTurns()
        self.event_hub = EventHub(database)
        self.key_cache = KeyCache(database)
        self.share_links = ShareLinks(database, self.key_cache.is_valid)
        self.stream_limiter = StreamLimiter(settings.max_streams, settings.max_streams_per_key)
        self.shared_image_limiter = SharedImageLimiter(knows_clients)
        self.sign_in_limiter = SignInLimiter(knows_clients)
        self.waiting_clients = WaitingClients(database, jobs)
        self.readiness = Readiness(database, blobs, jobs)

    @cached_property
    def credential_reader(self) -> CredentialReader:
        """Reads signed provenance; the first use takes a moment, so it belongs into a thread."""
        return CredentialReader(self._trusted_pem)

    async def close(self) -> None:
        """Stop what runs in the background."""
        await self.event_hub.close()
        self.conversions.close()
        self.thumbnails.close()
        self.upload_decoding.close()


def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


ServicesDep = Annotated[Services, Depends(_services)]
"""A route's parameter of this type receives the gateway's services."""

IdempotencyKeyHeader = Annotated[
    str,
    Header(description="The same key and body give the same job, another body a 409."),
]


def hold_open(services: Services, request: Request) -> AbstractContextManager[None]:
    """Count a request as held open while the block runs; raises like `StreamLimiter.hold`."""
    caller: Caller = request.scope[SCOPE_ENTRY]
    return services.stream_limiter.hold(caller.key_id)


async def _held_open(services: ServicesDep, request: Request) -> AsyncIterator[None]:
    with hold_open(services, request):
        yield


HeldOpen = Annotated[None, Depends(_held_open)]
"""A route with a parameter of this type counts as held open until its answer is sent."""
