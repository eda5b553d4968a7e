"""Pictures in the library of a service, for tests of its page."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from bench.service.library import SeededPicture, record
from serve.storage.database import Database
from tests.studio.service import Service


async def make(service: Service, api_key: str = "", **body: Any) -> dict[str, Any]:
    """Make pictures, with their files, and return the job."""
    headers = {"prefer": "wait=30"}
    if api_key:
        headers["authorization"] = f"Bearer {api_key}"
    async with httpx.AsyncClient(base_url=service.url) as client:
        answer = await client.post("/v1/jobs", json=body, headers=headers)
        job: dict[str, Any] = answer.raise_for_status().json()
        return job


def seed(database: Database, prompts: Sequence[str], a_day: int = 10) -> None:
    """Record pictures without files, so many a day, the first one today; `I0` is the oldest."""
    today = datetime.now(UTC).replace(hour=0, minute=0, second=1)
    seeded = []
    for number, prompt in enumerate(prompts):
        place = len(prompts) - 1 - number
        at = today - timedelta(days=place // a_day) + timedelta(seconds=number % a_day)
        seeded.append(SeededPicture(number, prompt, at))
    record(database, seeded)
    database.library.enter_missing()
