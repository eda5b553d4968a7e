"""Knows the jobs that clients watch: previews are drawn for those alone."""

from __future__ import annotations


class WatchedJobs:
    """Says for each job of this process whether a client can see its previews.

    A job counts as watched unless its client only waits for the end. That is known in memory alone:
    a job that another process takes up counts as watched there, which costs time and loses nothing.
    """

    def __init__(self) -> None:
        self._unwatched: set[str] = set()

    def exclude(self, job_id: str) -> None:
        """Count a new job as unwatched, until it is watched or has ended."""
        self._unwatched.add(job_id)

    def watch(self, job_id: str) -> None:
        """Count a job as watched from its next call of a stage on; also forgets an ended job."""
        self._unwatched.discard(job_id)

    def is_watched(self, job_id: str) -> bool:
        """Return True if a client can see the job's previews."""
        return job_id not in self._unwatched
