"""A client for the tests: plain HTTP and the event stream, nothing hidden."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import httpx
import numpy as np
import psutil
from httpx_sse import connect_sse
from PIL import Image

from bench import processes

TERMINAL = {"succeeded", "failed", "cancelled"}


@dataclass
class Event:
    """One server-sent event."""

    id: int
    type: str
    data: dict[str, Any]


class ServiceClient:
    """Creates jobs and follows their events over a real socket."""

    def __init__(self, http: httpx.Client) -> None:
        self.http = http

    def create(self, **body: Any) -> dict[str, Any]:
        """Create a job and return it as accepted."""
        answer = self.http.post("/v1/jobs", json=body)
        assert answer.status_code == 202, answer.text
        job: dict[str, Any] = answer.json()
        return job

    def job(self, job_id: str) -> dict[str, Any]:
        """Return the job as it stands."""
        answer = self.http.get(f"/v1/jobs/{job_id}")
        assert answer.status_code == 200, answer.text
        job: dict[str, Any] = answer.json()
        return job

    def events(self, job_id: str, after: int = 0) -> Iterator[Event]:
        """Follow a job's events to its end; a service that says so is asked again later."""
        headers = {"Last-Event-ID": str(after)} if after else {}
        url = f"/v1/jobs/{job_id}/events"
        with connect_sse(self.http, "GET", url, headers=headers) as source:
            if source.response.status_code == 503:
                self.wait_until_ready()
                yield from self.events(job_id, after)
                return
            assert source.response.status_code == 200, source.response.read().decode()
            for event in source.iter_sse():
                if not event.data:
                    continue  # httpx-sse makes an empty event of a keep-alive comment
                yield Event(int(event.id), event.event, json.loads(event.data))

    def finished(self, job_id: str) -> dict[str, Any]:
        """Follow a job to its end and return it."""
        for event in self.events(job_id):
            if event.type in TERMINAL:
                job: dict[str, Any] = event.data["job"]
                return job
        raise AssertionError("the stream ended before the job")

    def until(self, job_id: str, type_: str, stage: str | None = None) -> Event:
        """Follow a job's events until one of this type (and stage) comes."""
        for event in self.events(job_id):
            if event.type == type_ and (stage is None or event.data.get("stage") == stage):
                return event
        raise AssertionError(f"no event {type_} of stage {stage}")

    def wait_for_new_job(self, known: set[str]) -> set[str]:
        """Ask for the jobs until there are others than the known ones; returns those."""
        for _ in range(1200):
            new = {job["id"] for job in self.http.get("/v1/jobs").json()["jobs"]} - known
            if new:
                return new
            threading.Event().wait(0.1)
        raise AssertionError("no new job appeared")

    def wait_until_accepted(self, job_id: str) -> None:
        """Ask for a job until the service knows it: a client that chose its id knows it before."""
        for _ in range(1200):
            if self.http.get(f"/v1/jobs/{job_id}").status_code == 200:
                return
            threading.Event().wait(0.1)
        raise AssertionError(f"job {job_id} was not accepted")

    def wait_until_ready(self) -> None:
        """Ask /readyz until the service answers that it is ready."""
        for _ in range(1200):
            with suppress(httpx.TransportError):
                if self.http.get("/readyz").status_code == 200:
                    return
            threading.Event().wait(0.1)
        raise AssertionError("the service did not become ready again")


def replica_process(deployment: str) -> psutil.Process:
    """Return the process of the only running replica of a deployment of the shared cluster."""
    return dict(processes.running([deployment]))[deployment]


def check_ended_well_and_once(service: ServiceClient, job_id: str) -> dict[str, Any]:
    """Follow a job through restarts of the service; returns it.

    It must succeed, end once and never go back to Stage C.
    """
    job = _follow_through_restarts(service, job_id)
    assert job["state"] == "succeeded", job["error"]
    events = list(service.events(job_id))
    stages = [event.data["stage"] for event in events if event.type == "progress"]
    assert "c" not in stages[stages.index("b") :]
    assert [event.type for event in events if event.type in TERMINAL] == ["succeeded"]
    return job


def _follow_through_restarts(service: ServiceClient, job_id: str) -> dict[str, Any]:
    while True:
        try:
            return service.finished(job_id)
        except (AssertionError, httpx.HTTPError):  # the replica with our stream went away
            service.wait_until_ready()


def pixels(service: ServiceClient, image_id: str) -> np.ndarray[Any, Any]:
    """Fetch a picture; returns its pixels, height x width x RGB."""
    answer = service.http.get(f"/v1/images/{image_id}")
    assert answer.status_code == 200
    return np.asarray(Image.open(BytesIO(answer.content)))


def check_same_picture(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> None:
    """Check that pixels differ by no more than one level: steps that images share round so."""
    np.testing.assert_allclose(one, other, rtol=0, atol=1)


def free_port() -> int:
    """Return a TCP port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
