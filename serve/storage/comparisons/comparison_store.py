"""Stores comparisons and votes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, delete, func, or_, select

from cascade_core import comparison_jobs
from cascade_core.errors import IdempotencyMismatch
from serve.storage.comparisons.comparison import MAX_ENTRIES, Comparison, Vote
from serve.storage.connections import Connections
from serve.storage.lineage import Viewpoint
from serve.storage.records import JobIdentity, JobOwner, utc_now
from serve.storage.schema.tables import comparison_votes, comparisons, insert_new


class ComparisonStore:
    """Adds and reads comparisons; every method is one transaction and blocks.

    Raises:
        NotReady: the database does not answer (from every method).
    """

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def add(self, new: Comparison, identity: JobIdentity) -> Comparison:
        """Add a comparison, or return the one that an equal request added before.

        Args:
            new: the comparison.
            identity: of its request; the id is the comparison's.

        Raises:
            IdempotencyMismatch: the id or key was used for another request.
        """
        row = {
            "id": new.id,
            "owner": new.owner.key_id,
            "user": new.owner.user,
            "created_at": new.created_at,
            "idempotency_key": identity.key,
            "body_digest": identity.body,
            "request": {
                "prompt": new.prompt,
                "seed": new.seed,
                "n": new.n,
                "settings": [dict(given) for given in new.settings],
                "models": list(new.models),
            },
        }
        query = select(comparisons).where(_is_same(identity))
        with self._connections.writing() as connection:
            insert_new(connection, comparisons, [row])
            found = connection.execute(query).mappings().all()[0]
        return _of_request(found, identity)

    def accepted_before(self, identity: JobIdentity) -> Comparison | None:
        """Return the comparison that an equal request added, if there is one.

        Raises:
            IdempotencyMismatch: the id or key was used for another request.
        """
        query = select(comparisons).where(_is_same(identity))
        with self._connections.reading() as connection:
            found = connection.execute(query).mappings().first()
        return None if found is None else _of_request(found, identity)

    def get(self, comparison_id: str) -> Comparison | None:
        """Return a comparison; None if there is none under this id."""
        query = select(comparisons).where(comparisons.c.id == comparison_id)
        with self._connections.reading() as connection:
            found = connection.execute(query).mappings().first()
        return None if found is None else _comparison(found)

    def has_job(self, job_id: str) -> bool:
        """Return True if a job is of a comparison."""
        try:
            ids = [comparison_jobs.comparison_id(job_id, entry) for entry in range(MAX_ENTRIES)]
        except ValueError:  # a client of an earlier release chose its id
            return False
        query = select(comparisons.c.id).where(comparisons.c.id.in_(ids))
        with self._connections.reading() as connection:
            return connection.execute(query).first() is not None

    def remove(self, comparison_id: str) -> None:
        """Remove a comparison that was not accepted."""
        with self._connections.writing() as connection:
            connection.execute(delete(comparisons).where(comparisons.c.id == comparison_id))

    def page(
        self, viewpoint: Viewpoint, cursor: str | None, limit: int
    ) -> tuple[list[Comparison], str | None]:
        """Return comparisons that are seen, newest first, and the cursor of the next page."""
        query = select(comparisons).order_by(comparisons.c.id.desc()).limit(limit + 1)
        seen = ((comparisons.c.owner, viewpoint.key_id), (comparisons.c.user, viewpoint.user))
        query = query.where(*(column == value for column, value in seen if value is not None))
        if cursor is not None:
            query = query.where(comparisons.c.id < cursor)
        with self._connections.reading() as connection:
            rows = list(connection.execute(query).mappings())
        found = [_comparison(row) for row in rows[:limit]]
        return found, found[-1].id if len(rows) > limit else None

    def vote(self, comparison_id: str, pair: int, voter: JobOwner, choice: Vote) -> Vote:
        """Record a vote; returns the voter's vote on the pair: the first one counts."""
        of_voter = {
            "comparison_id": comparison_id,
            "pair": pair,
            "voter_key": voter.key_id or "",
            "voter": voter.user or "",
        }
        query = select(comparison_votes.c.vote).where(
            *(comparison_votes.c[name] == value for name, value in of_voter.items())
        )
        row = {**of_voter, "vote": choice, "created_at": utc_now()}
        with self._connections.writing() as connection:
            insert_new(connection, comparison_votes, [row])
            counted: Vote = connection.execute(query).scalar_one()
        return counted

    def votes(self, ids: Sequence[str]) -> Mapping[str, Mapping[tuple[int, str], int]]:
        """Return how many votes each choice of each pair has, by comparison."""
        votes = comparison_votes.c
        query = select(votes.comparison_id, votes.pair, votes.vote, func.count())
        query = query.where(votes.comparison_id.in_(ids))
        query = query.group_by(votes.comparison_id, votes.pair, votes.vote)
        found: dict[str, dict[tuple[int, str], int]] = {one: {} for one in ids}
        with self._connections.reading() as connection:
            for comparison_id, pair, choice, count in connection.execute(query):
                found[comparison_id][pair, choice] = count
        return found


def _is_same(identity: JobIdentity) -> ColumnElement[bool]:
    is_id = comparisons.c.id == identity.job_id
    if identity.key is None:
        return is_id
    return or_(is_id, comparisons.c.idempotency_key == identity.key)


def _of_request(row: RowMapping, identity: JobIdentity) -> Comparison:
    if row["body_digest"] != identity.body:
        raise IdempotencyMismatch("this id or Idempotency-Key was used for another request")
    return _comparison(row)


def _comparison(row: RowMapping) -> Comparison:
    request: dict[str, Any] = row["request"]
    return Comparison(
        id=row["id"],
        owner=JobOwner(row["owner"], row["user"]),
        created_at=row["created_at"],
        prompt=request["prompt"],
        seed=request["seed"],
        n=request["n"],
        settings=tuple(request["settings"]),
        models=tuple(request["models"]),
    )
