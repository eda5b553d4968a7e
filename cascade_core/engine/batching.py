"""Pure policy: which rows share the next step, and which steps show a preview."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar


class Candidate(Protocol):
    """A row as the policy sees it.

    Attributes:
        bucket: rows with equal buckets may share a forward pass.
        arrival: rises from row to row in the order of their admission.
        last_turn: number of the engine's step this row last took part in; at first, of the last
            step before its admission.
    """

    @property
    def bucket(self) -> tuple[int, ...]: ...  # noqa: D102

    @property
    def arrival(self) -> int: ...  # noqa: D102

    @property
    def last_turn(self) -> int: ...  # noqa: D102


CandidateT = TypeVar("CandidateT", bound=Candidate)


def choose_rows(rows: Sequence[CandidateT], max_rows: int) -> list[CandidateT]:
    """Return the rows of the next step: one bucket, at most ``max_rows``, none if there are none.

    The row that has waited longest for a step decides the bucket; older rows come first. No row
    starves, however many rows of other buckets arrive: a new row counts from the step of its
    admission, so all earlier rows come before it.
    """
    if not rows:
        return []
    in_turn = sorted(rows, key=lambda row: (row.last_turn, row.arrival))
    bucket = in_turn[0].bucket
    return [row for row in in_turn if row.bucket == bucket][:max_rows]


def preview_steps(steps: int, previews: int) -> frozenset[int]:
    """Return the steps of ``1 .. steps`` that a preview follows: evenly spread, never the last.

    There are fewer than ``previews`` if there are not enough steps.
    """
    wanted = min(previews, steps - 1)
    return frozenset(round(index * steps / (wanted + 1)) for index in range(1, wanted + 1))
