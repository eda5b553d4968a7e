"""What the service does now and has done lately: jobs by stage, seconds of stages, errors."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, func, select

from serve.storage.connections import Connections
from serve.storage.records import utc_now
from serve.storage.schema.tables import images, jobs

_NEWEST: Final = 200
"""Seconds of stages come from so many jobs at most, so that a reading costs the same always."""


ModelStage = tuple[str | None, str]
"""The id of a model and the name of one of its stages; jobs from before there were several models
name none."""


@dataclass(frozen=True, slots=True)
class StageWork:
    """What a stage did for the newest jobs.

    Attributes:
        images: that passed it.
        seconds: of the stage, as in the jobs' costs.
    """

    images: int = 0
    seconds: float = 0.0

    @property
    def seconds_per_image(self) -> float | None:
        """Return the mean; None if no image passed it."""
        return round(self.seconds / self.images, 4) if self.images else None


@dataclass(frozen=True, slots=True)
class Activity:
    """What the service does now, and what it did in a period.

    Attributes:
        jobs: running jobs by their model and the stage whose step they reported last.
        work: by model and stage, of the newest jobs if they succeeded in the period.
        errors: jobs that failed in the period, by error code.
    """

    jobs: Mapping[ModelStage, int]
    work: Mapping[ModelStage, StageWork]
    errors: Mapping[str, int]


class ActivityStore:
    """Reads the activity of all callers' jobs; every method is one transaction and blocks."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def within(self, period: timedelta) -> Activity:
        """Return what the service does now, and what it did within a period up to now."""
        since = utc_now() - period
        with self._connections.reading() as connection:
            return Activity(
                jobs=_running_by_stage(connection),
                work=_work_by_stage(connection, since),
                errors=_failed_by_code(connection, since),
            )


def _running_by_stage(connection: Connection) -> dict[ModelStage, int]:
    at_stage = (jobs.c.state == "running", jobs.c.stage.is_not(None))
    query = select(jobs.c.model, jobs.c.stage, func.count()).where(*at_stage)
    found = connection.execute(query.group_by(jobs.c.model, jobs.c.stage))
    return {(model, stage): count for model, stage, count in found}


def _work_by_stage(connection: Connection, since: datetime) -> dict[ModelStage, StageWork]:
    of_job = (jobs.c.id, jobs.c.state, jobs.c.finished_at, jobs.c.cost, jobs.c.model)
    newest = select(*of_job).order_by(jobs.c.id.desc()).limit(_NEWEST).subquery()
    recent = select(newest.c.id, newest.c.model, newest.c.cost).where(
        newest.c.state == "succeeded", newest.c.finished_at >= since
    )
    costs_s: dict[str, tuple[str | None, dict[str, float]]]
    costs_s = {row.id: (row.model, row.cost) for row in connection.execute(recent)}
    made = select(images.c.job_id, func.count()).where(
        images.c.job_id.in_(costs_s), images.c.ready_at.is_not(None)
    )
    counts = connection.execute(made.group_by(images.c.job_id))
    work: defaultdict[ModelStage, StageWork] = defaultdict(StageWork)
    for job_id, count in counts:
        of_model, costs = costs_s[job_id]
        for stage, seconds in costs.items():
            if seconds > 0:
                before = work[of_model, stage]
                work[of_model, stage] = StageWork(before.images + count, before.seconds + seconds)
    return dict(work)


def _failed_by_code(connection: Connection, since: datetime) -> dict[str, int]:
    code: Any = jobs.c.error["code"].as_string()
    failed = (jobs.c.state == "failed", jobs.c.finished_at >= since)
    query = select(code, func.count()).where(*failed).group_by(code)
    return {name: count for name, count in connection.execute(query)}
