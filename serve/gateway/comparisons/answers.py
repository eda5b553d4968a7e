"""The HTTP form of comparisons: what each entry made, what that took, and the pairs of pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from serve.gateway.dependencies import Services
from serve.gateway.prices import Prices, price_of
from serve.storage.comparisons.comparison import Comparison, Pair, Vote
from serve.storage.records import Job, iso_utc


async def answers(services: Services, found: Sequence[Comparison]) -> list[dict[str, Any]]:
    """Return comparisons as they stand.

    Raises:
        NotReady: the database does not answer.
    """
    database = services.database
    ids = [job_id for one in found for job_id in one.job_ids]
    read = await database.run(database.jobs.with_last_event_ids, ids)
    jobs = {job.id: job for job, _ in read}
    votes = await database.run(database.comparisons.votes, [one.id for one in found])
    prices = services.settings.hour_price
    return [
        _answer(one, [jobs.get(job_id) for job_id in one.job_ids], votes[one.id], prices)
        for one in found
    ]


def vote_answer(
    comparison: Comparison, pair: Pair, choice: Vote, votes: Mapping[tuple[int, str], int]
) -> dict[str, Any]:
    """Return what a vote tells the voter: which side was what, and the votes so far."""
    return {
        "pair": pair.index,
        "choice": choice,
        "left": _side(comparison, pair.left),
        "right": _side(comparison, pair.right),
        "preferred": pair.preferred(choice),
        "tally": comparison.tally(votes),
    }


def picture_id(job: Job | None, index: int) -> str | None:
    """Return the id of a job's picture; None if it is not there."""
    images = () if job is None else job.images
    is_shown = (one for one in images if one.index == index and one.ready and not one.deleted_at)
    return next((one.id for one in is_shown), None)


def _answer(
    comparison: Comparison,
    jobs: Sequence[Job | None],
    votes: Mapping[tuple[int, str], int],
    prices: Prices,
) -> dict[str, Any]:
    is_running = any(job is not None and not job.is_resting for job in jobs)
    return {
        "id": comparison.id,
        "created_at": iso_utc(comparison.created_at),
        "prompt": comparison.prompt,
        "seed": comparison.seed,
        "n": comparison.n,
        "state": "running" if is_running else "ended",
        "entries": [_entry(comparison, place, job, prices) for place, job in enumerate(jobs)],
        "pairs": [
            {
                "index": pair.index,
                "image_index": pair.image_index,
                "left": picture_id(jobs[pair.left], pair.image_index),
                "right": picture_id(jobs[pair.right], pair.image_index),
            }
            for pair in comparison.pairs
        ],
        "tally": comparison.tally(votes),
    }


def _entry(comparison: Comparison, place: int, job: Job | None, prices: Prices) -> dict[str, Any]:
    entry = {"model": comparison.models[place], "settings": dict(comparison.settings[place])}
    if job is None:
        took: dict[str, Any] = {"seconds": None, "compute_s": 0.0, "price": None, "bytes": None}
        return entry | {"job": None, **took}
    sizes = [one.size_bytes for one in job.images if one.ready and one.size_bytes is not None]
    return entry | {
        "job": job.to_json(),
        "seconds": _seconds(job),
        "compute_s": round(sum(job.cost_s.values()), 4),
        "price": price_of(job.cost_s, prices),
        "bytes": sum(sizes) if sizes else None,
    }


def _seconds(job: Job) -> float | None:
    if job.started_at is None or job.finished_at is None:
        return None
    return round((job.finished_at - job.started_at).total_seconds(), 3)


def _side(comparison: Comparison, entry: int) -> dict[str, Any]:
    given = dict(comparison.settings[entry])
    return {"entry": entry, "model": comparison.models[entry], "settings": given}
