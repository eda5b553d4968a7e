"""Calls of the HTTP API that several test modules make."""

from __future__ import annotations

from typing import Any

import httpx

from tests.serve.fake_jobs_client import FakeJobsClient

NOT_THERE = [
    "nope",
    "..",
    "a%2Fb",
    "%2e%2e%2fetc",
    "x" * 65,
    "%00",
    "%F0%9F%92%A9",
    "a%0ab",
    "a'--",
]
"""Ids in a path that name nothing."""


async def create(client: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    """Return a job that was accepted."""
    answer = await client.post("/v1/jobs", json={"prompt": "a red circle"} | body)
    assert answer.status_code == 202, answer.text
    job: dict[str, Any] = answer.json()
    return job


async def made(client: httpx.AsyncClient, fake_jobs: FakeJobsClient, **body: Any) -> dict[str, Any]:
    """Return a job that has succeeded."""
    job_id = (await create(client, **body))["id"]
    await fake_jobs.run(job_id)
    job: dict[str, Any] = (await client.get(f"/v1/jobs/{job_id}")).json()
    return job


async def drafted(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, **body: Any
) -> dict[str, Any]:
    """Return a job that waits for its client."""
    job_id = (await create(client, stop_after="c", **body))["id"]
    await fake_jobs.draft(job_id)
    job: dict[str, Any] = (await client.get(f"/v1/jobs/{job_id}")).json()
    assert job["state"] == "waiting"
    return job


def code(answer: httpx.Response) -> str:
    """Return the code of an error."""
    text: str = answer.json()["error"]["code"]
    return text
