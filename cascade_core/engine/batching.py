"""Pure policy: which rows share the next step, and which steps show a preview."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Protocol, TypeVar


class Candidate(Protocol):
    """A row as the policy sees it.

    Attributes:
        bucket: rows with equal buckets may share a forward pass; the latent's shape, so that its
            product is the work of a step of one row.
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


class BucketTurns:
    """Chooses the rows of each step: buckets take turns by work, not by number of steps.

    Start-time fair queueing (Goyal, Vin and Cheng, 1996). Each bucket carries a tag: where its next
    step begins on a clock that counts work instead of seconds. The bucket with the smallest tag
    gets the step, which moves its tag by the work of one of its rows. So all rows that wait get the
    same work in the same time, however large they are and however many share a step. A bucket
    without rows gathers no claim, as no tag is behind the clock.

    No row starves, however many rows arrive: between two steps of a bucket, each other bucket does
    at most ``work of the one // work of the other + 1`` steps. Of rows that do not fit into their
    bucket's step, those that have waited longest come first. A new row counts from the step of its
    admission, so all earlier rows come before it.
    """

    def __init__(self) -> None:
        self._clock = 0
        self._tags: dict[tuple[int, ...], int] = {}

    def next_rows(self, rows: Sequence[CandidateT]) -> list[CandidateT]:
        """Return the rows of the next step, longest waiting first: all of one bucket.

        Args:
            rows: those that are not done; without any there is no step.
        """
        if not rows:
            return []
        in_turn = sorted(rows, key=lambda row: (row.last_turn, row.arrival))
        bucket = min((row.bucket for row in in_turn), key=self._tag)
        self._clock = self._tag(bucket)
        self._tags[bucket] = self._clock + prod(bucket)
        return [row for row in in_turn if row.bucket == bucket]

    def _tag(self, bucket: tuple[int, ...]) -> int:
        return max(self._clock, self._tags.get(bucket, 0))


def preview_steps(steps: int, previews: int) -> frozenset[int]:
    """Return the steps of ``1 .. steps`` that a preview follows: evenly spread, never the last.

    There are fewer than ``previews`` if there are not enough steps.
    """
    wanted = min(previews, steps - 1)
    return frozenset(round(index * steps / (wanted + 1)) for index in range(1, wanted + 1))
