"""Translates the errors that Ray raises at calls of deployments to our errors."""

from __future__ import annotations

import logging

from ray.exceptions import RayError, RayTaskError, TaskCancelledError
from ray.serve.exceptions import DeploymentUnavailableError, RayServeException

from cascade_core.errors import CascadeError, Internal

logger = logging.getLogger(__name__)


def is_lost(error: Exception) -> bool:
    """Return True if the replica died or became unreachable, so that its result is unknown."""
    return isinstance(error, RayError) and not (
        isinstance(error, RayTaskError) or is_cancelled(error)
    )


def is_cancelled(error: Exception) -> bool:
    """Return True if Serve cancelled the call, as the request that made it was abandoned."""
    return isinstance(error, TaskCancelledError)


def translated(error: Exception, lost: CascadeError, unavailable: CascadeError) -> CascadeError:
    """Return our error for an error that a handle raised.

    Args:
        error: raised by a call of a deployment.
        lost: the replica died, or cannot take the call now.
        unavailable: the deployment's replicas do not start.
    """
    cause = error.cause if isinstance(error, RayTaskError) else error
    if isinstance(cause, CascadeError):
        return cause
    if isinstance(cause, DeploymentUnavailableError):
        return unavailable
    # A task error is a failure of our own code in the replica.
    if isinstance(error, RayError | RayServeException) and not isinstance(error, RayTaskError):
        return lost
    logger.error("a deployment failed unexpectedly", exc_info=error)
    return Internal("a part of the service failed unexpectedly")
