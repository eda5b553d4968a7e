"""The Gateway deployment: Serve's ingress around the HTTP application."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from fastapi import FastAPI
from ray.serve.handle import DeploymentHandle

from serve.gateway.application import create_app
from serve.gateway.dependencies import Services
from serve.gateway.ray_jobs_client import RayJobsClient
from serve.moderation.moderator import Moderator, load_checkers
from serve.provenance.picture_signer import load_signer
from serve.provenance.watermarks import load_watermarker
from serve.proxies import haproxy
from serve.served_models import ServedModel, open_models
from serve.settings import Settings
from serve.storage.open_stores import open_stores, until_available
from serve.studio.files import studio_files
from serve.telemetry.log import configure_logging
from serve.telemetry.metrics import RefusalMetrics
from serve.telemetry.tracing import configure_tracing

logger = logging.getLogger(__name__)


class Gateway:
    """Serve's ingress; the application itself is :func:`serve.gateway.application.create_app`."""

    def __init__(
        self, settings: Settings, models: Sequence[ServedModel], jobs: DeploymentHandle
    ) -> None:
        configure_logging(settings)
        configure_tracing(settings, "gateway")
        logging.getLogger("ray.serve").addFilter(is_no_notification)
        database, blobs = open_stores(settings)
        if not until_available(database.keys.all):
            answered = "no request is" if haproxy.is_on() else "only requests of this machine are"
            logger.warning("no API keys: %s answered", answered)
        if problem := studio_files().problem:
            logger.warning(problem)
        opened = open_models(models, settings.alias_names)
        self._services = Services(
            settings=settings,
            database=database,
            blobs=blobs,
            models=opened,
            jobs=RayJobsClient(jobs),
            moderator=Moderator(load_checkers(settings, opened), RefusalMetrics().refused),
            signer=load_signer(settings),
            watermarker=load_watermarker(settings),
            knows_clients=not haproxy.is_on(),
        )

    async def notify_of_events(self, job_ids: list[str]) -> None:
        """Read the new events of jobs that clients of this replica follow; Jobs calls this."""
        self._services.event_hub.notify(job_ids)

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Return the ASGI application; Serve calls this once, after the constructor."""
        return create_app(self._services)


def is_no_notification(record: logging.LogRecord) -> bool:
    """Return False for Serve's line about a call that Jobs makes many times a second."""
    return not record.getMessage().startswith(f"CALL {Gateway.notify_of_events.__name__} OK")
