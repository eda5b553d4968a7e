"""Builds the objects that run jobs in a Jobs process, and passes each the stores that it uses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from ray.serve.handle import DeploymentHandle

from serve.autoscaling.demand import Demand
from serve.jobs.dispatch.dispatcher import Dispatcher
from serve.jobs.dispatch.fair_queue import FairQueue
from serve.jobs.dispatch.stage_client import StageClient
from serve.jobs.latent_reuse import LatentReuse
from serve.jobs.preview_check import PreviewCheck
from serve.jobs.progress.recorder import ProgressRecorder
from serve.jobs.progress.watched_jobs import WatchedJobs
from serve.jobs.workflow import JobWorkflow
from serve.moderation.moderator import Moderator, load_checkers
from serve.provenance.picture_signer import load_signer
from serve.served_models import Models
from serve.settings import Settings
from serve.storage.blobs.blob_store import BlobStore
from serve.storage.database import Database
from serve.storage.retry import RetryingBlobs, RetryingDatabase
from serve.telemetry.metrics import JobMetrics, QueueMetrics, RefusalMetrics


@dataclass(frozen=True, slots=True, kw_only=True)
class JobServices:
    """What runs jobs in a Jobs process.

    Attributes:
        database: retries operations until the database answers.
        queues: the fair queue of each stage, by its key.
        demand: counts the work that is on its way to each stage.
        dispatcher: calls the stages.
        watched_jobs: the jobs that previews are drawn for.
        workflow: runs jobs.
        metrics, queue_metrics: of the jobs and of the queues.
    """

    database: RetryingDatabase
    queues: dict[str, FairQueue]
    demand: Demand
    dispatcher: Dispatcher
    watched_jobs: WatchedJobs
    workflow: JobWorkflow
    metrics: JobMetrics
    queue_metrics: QueueMetrics


def build_services(
    settings: Settings,
    models: Models,
    handles: Mapping[str, DeploymentHandle],
    database: Database,
    blobs: BlobStore,
) -> JobServices:
    """Build what runs jobs.

    Args:
        settings: the settings of the service.
        models: that make the images.
        handles: handles of the stages' deployments, by the stages' keys.
        database: records jobs, images and latents.
        blobs: stores their bytes.

    Raises:
        SettingsInvalid: a checker cannot be loaded, or nothing can be signed.
    """
    metrics, queue_metrics = JobMetrics(), QueueMetrics()
    retrying_database, retrying_blobs = RetryingDatabase(database), RetryingBlobs(blobs)
    queues, demand = {key: FairQueue(1) for key in handles}, Demand(handles)
    watched_jobs = WatchedJobs()
    dispatcher = _build_dispatcher(
        models, handles, retrying_database, queues, watched_jobs, queue_metrics
    )
    workflow = JobWorkflow(
        models,
        retrying_database,
        retrying_blobs,
        dispatcher,
        demand,
        # A search for an equal latent is optional, so it is not retried.
        LatentReuse(models, database, blobs, is_on=settings.reuse_latents),
        _build_preview_check(settings, models, retrying_database, retrying_blobs),
        ProgressRecorder(retrying_database, retrying_blobs),
        watched_jobs,
        metrics,
        timedelta(hours=settings.waiting_hours),
        load_signer(settings),
    )
    return JobServices(
        database=retrying_database,
        queues=queues,
        demand=demand,
        dispatcher=dispatcher,
        watched_jobs=watched_jobs,
        workflow=workflow,
        metrics=metrics,
        queue_metrics=queue_metrics,
    )


def _build_preview_check(
    settings: Settings,
    models: Models,
    database: RetryingDatabase,
    blobs: RetryingBlobs,
) -> PreviewCheck:
    metrics = RefusalMetrics()
    return PreviewCheck(
        moderator=Moderator(load_checkers(settings, models), metrics.refused),
        shows_previews=settings.previews > 0,
        max_redos=settings.checker_redos,
        database=database,
        blobs=blobs,
        metrics=metrics,
    )


def _build_dispatcher(
    models: Models,
    handles: Mapping[str, DeploymentHandle],
    database: RetryingDatabase,
    queues: dict[str, FairQueue],
    watched_jobs: WatchedJobs,
    metrics: QueueMetrics,
) -> Dispatcher:
    clients = {
        key: StageClient(key, handle, on_failure=metrics.failed) for key, handle in handles.items()
    }
    previewers = {
        kept.key: StageClient(kept.key, handles[kept.key], "preview")
        for model in models
        if (kept := model.family.kept) is not None
    }
    return Dispatcher(database, clients, previewers, queues, watched_jobs, metrics)
