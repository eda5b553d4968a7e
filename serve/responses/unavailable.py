"""The messages that clients read while no gateway answers; several servers send them."""

from __future__ import annotations

RETRY_AFTER_S = 5
STARTING = "the service is starting; try again in a few seconds"
LOST = "the process that had this request ended; try again in a few seconds"
LOST_AND_UNKNOWN = (
    "the process that had this request ended, and may have accepted a job; look at GET /v1/jobs "
    "before you try again"
)
"""For a POST without ``Idempotency-Key``: a retry could make a second job."""
