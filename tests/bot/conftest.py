from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bot.service.models import Cost, Image, Job, ResolvedRequest
from bot.text.catalog import Catalog, Translator

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
JOB_ID = "01JXQ5W8T3M4N6P7R8S9T0V1W2"

JobMaker = Callable[..., Job]


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    return Catalog.load()


@pytest.fixture
def translate(catalog: Catalog) -> Translator:
    return Translator(catalog, "en-GB")


@pytest.fixture
def make_job() -> JobMaker:
    return job_like


def job_like(pictures: int = 1, **changes: Any) -> Job:
    """Make a job that took four seconds; changes go to the job or to its request."""
    asked: dict[str, Any] = {
        "kind": "generate",
        "prompt": "a red fox",
        "negative_prompt": "",
        "width": 1024,
        "height": 768,
        "n": max(1, pictures),
        "seed": 7,
        "steps": 20,
        "guidance_scale": 4.0,
        "decoder_seed": 7,
        "decoder_steps": 10,
        "decoder_guidance_scale": 0.0,
        "latent_id": None,
        "strength": None,
        "stop_after": None,
        "image": None,
        "variants": None,
        "model": None,
    }
    request = {name: changes.pop(name, value) for name, value in asked.items()}
    images = tuple(
        Image(f"IMG{index}", index, f"LAT{index}", 7 + index, 7 + index, 1024, 768)
        for index in range(pictures)
    )
    values: dict[str, Any] = {
        "id": JOB_ID,
        "kind": request["kind"],
        "state": "succeeded",
        "stage": None,
        "progress": None,
        "position": None,
        "eta_s": None,
        "created_at": NOW,
        "started_at": NOW,
        "finished_at": NOW + timedelta(seconds=4),
        "request": ResolvedRequest(**request),
        "images": images,
        "error": None,
        "cost": Cost({"c": 2.0, "b": 1.5, "a": 0.25}),
        "client_state": {},
    }
    return Job(**values | changes)
