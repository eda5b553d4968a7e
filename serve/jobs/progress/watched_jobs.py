"""Knows the jobs that clients watch: previews are drawn for those alone."""

from __future__ import annotations


class WatchedJobs:
    """Says for each job of this process whether a client can see its previews.

    A job counts as watched unless its client only waits for the end. That is known in memory alone:
    a job that another process takes up counts as watched there, which costs time and loses nothing.
    """

    def __init__(self) -> None:
        self._unwatched: set[str] = set()

    def exclude(self, job_id: str) -> bool:
        """Count a job as unwatched until it is watched or forgotten; False if it was before."""
        was_watched = self.is_watched(job_id)
        self._unwatched.add(job_id)
        return was_watched

    def watch(self, job_id: str) -> None:
        """Count a job as watched from its next call of a stage on."""
        self._unwatched.discard(job_id)

    def forget(self, job_id: str) -> None:
        """Forget a job that this process does not run or no longer runs."""
        self._unwatched.discard(job_id)

    def is_watched(self, job_id: str) -> bool:
        """Return True if a client can see the job's previews."""
        return job_id not in self._unwatched
