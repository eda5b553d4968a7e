"""Pictures in the library of a service, for tests of its page."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from sqlalchemy import insert
from ulid import ULID

from bench.engine.null_stages import NULL_JOB
from cascade_core.request import GenerationRequest
from serve.storage.database import Database
from serve.storage.schema.tables import images, jobs
from tests.studio.service import Service


async def make(service: Service, **body: Any) -> dict[str, Any]:
    """Make pictures, with their files, and return the job."""
    async with httpx.AsyncClient(base_url=service.url) as client:
        answer = await client.post("/v1/jobs", json=body, headers={"prefer": "wait=30"})
        job: dict[str, Any] = answer.raise_for_status().json()
        return job


def seed(database: Database, prompts: Sequence[str], a_day: int = 10) -> None:
    """Record pictures without files, so many a day, the first one today; `I0` is the oldest."""
    today = datetime.now(UTC).replace(hour=0, minute=0, second=1)
    rows: list[dict[str, Any]] = []
    pictures: list[dict[str, Any]] = []
    for number, prompt in enumerate(prompts):
        place = len(prompts) - 1 - number
        at = today - timedelta(days=place // a_day) + timedelta(seconds=number % a_day)
        values = {"prompt": prompt, "seed": number, "decoder_seed": number}
        request = GenerationRequest.from_dict(NULL_JOB | values)
        job_id = str(ULID.from_datetime(at))
        rows.append(_job(job_id, request, at))
        pictures.append(_picture(job_id, number, at))
    with database.writing() as connection:
        connection.execute(insert(jobs), rows)
        connection.execute(insert(images), pictures)
    database.library.enter_missing()


def _job(job_id: str, request: GenerationRequest, at: datetime) -> dict[str, Any]:
    return {
        "id": job_id,
        "kind": request.kind,
        "state": "succeeded",
        "request": request.to_dict(),
        "warnings": [],
        "created_at": at,
        "finished_at": at,
    }


def _picture(job_id: str, number: int, at: datetime) -> dict[str, Any]:
    return {
        "id": f"I{number}",
        "job_id": job_id,
        "index": 0,
        "latent_id": f"L{number}",
        "seed": number,
        "decoder_seed": number,
        "width": 512,
        "height": 512,
        "format": "png",
        "ready_at": at,
    }
