"""Follows a job to its end: by its event stream, or by polling if the stream keeps breaking."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

from cascade_core.job_states import RESTING_STATES
from serve.cli.client import ServerEvent, ServiceClient, StreamBroken, Unreachable

_MAX_BREAKS_IN_A_ROW = 3
_POLL_INTERVAL_S = 0.5
_RECONNECT_S = 30.0
"""How long a restarting server is waited for; it keeps its jobs."""


class Watcher(Protocol):
    """Receives a job's progress."""

    def queued(self, position: int, eta_s: float | None) -> None:
        """Receive the position in the queue."""

    def step(self, stage: str, index: int, step: int, steps: int) -> None:
        """Receive one step of one picture."""

    def picture(self, index: int) -> None:
        """Receive the index of a finished picture."""


def follow(
    client: ServiceClient,
    job_id: str,
    watcher: Watcher,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, Any]:
    """Return the job once it has ended or waits; ``watcher`` receives its progress.

    A broken stream is resumed after the last event that was seen. The returned job is read from the
    service, not taken from an event.

    Raises:
        Unreachable: the server went away and stayed away.
    """
    last_event_id, breaks = "", 0
    while breaks < _MAX_BREAKS_IN_A_ROW:
        try:
            for event in client.events(job_id, last_event_id):
                last_event_id, breaks = event.id or last_event_id, 0
                if event.type in RESTING_STATES:
                    break
                _notify(watcher, event)
        except StreamBroken:
            pass
        breaks += 1
        job = _ask(client, job_id, sleep)
        if job["state"] in RESTING_STATES:
            return job
    return _poll(client, job_id, watcher, sleep)


def _poll(
    client: ServiceClient, job_id: str, watcher: Watcher, sleep: Callable[[float], None]
) -> dict[str, Any]:
    while True:
        job = _ask(client, job_id, sleep)
        if job["state"] in RESTING_STATES:
            return job
        progress = job.get("progress")
        if job.get("stage") and isinstance(progress, dict):
            index = int(progress.get("index", 0))
            watcher.step(job["stage"], index, int(progress["step"]), int(progress["steps"]))
        elif job.get("position"):
            watcher.queued(int(job["position"]), job.get("eta_s"))
        sleep(_POLL_INTERVAL_S)


def _ask(client: ServiceClient, job_id: str, sleep: Callable[[float], None]) -> dict[str, Any]:
    waited_s = 0.0
    while True:
        try:
            return client.job(job_id)
        except Unreachable as error:
            if waited_s >= _RECONNECT_S:
                message = f"{error.message}; job {job_id} goes on once the server is back"
                raise Unreachable(
                    message, error.exit_code, f"cascade jobs show {job_id}"
                ) from error
        sleep(_POLL_INTERVAL_S)
        waited_s += _POLL_INTERVAL_S


def _notify(watcher: Watcher, event: ServerEvent) -> None:
    data = event.data
    if event.type == "queued":
        watcher.queued(int(data.get("position") or 0), data.get("eta_s"))
    elif event.type == "progress":
        index = int(data.get("index", 0))
        watcher.step(str(data["stage"]), index, int(data["step"]), int(data["steps"]))
    elif event.type == "image":
        watcher.picture(int(data["index"]))
