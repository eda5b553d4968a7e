from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from cascade_core.request import GenerationRequest
from serve.db import Database
from serve.records import NewJob, PlannedImage

JobMaker = Callable[..., NewJob]


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'data' / 'cascade.db'}"


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    database.create_tables()
    yield database
    database.close()


@pytest.fixture
def make_request() -> Callable[..., GenerationRequest]:
    def make(**changes: Any) -> GenerationRequest:
        values: dict[str, Any] = {
            "prompt": "a red circle",
            "width": 256,
            "height": 256,
            "seed": 7,
            "decoder_seed": 7,
        }
        return GenerationRequest(**values | changes)

    return make


@pytest.fixture
def make_job(make_request: Callable[..., GenerationRequest]) -> JobMaker:
    numbers = count()

    def make(
        user: str | None = None, client_state: dict[str, Any] | None = None, **changes: Any
    ) -> NewJob:
        number = next(numbers)
        request = make_request(**changes)
        images = tuple(
            PlannedImage(
                id=f"IMG{number:04}-{index}",
                index=index,
                latent_id=request.latent_id or f"LAT{number:04}-{index}",
                seed=request.for_image(index).seed,
                decoder_seed=request.for_image(index).decoder_seed,
            )
            for index in range(request.n)
        )
        return NewJob(f"JOB{number:04}", request, client_state, user, images)

    return make
