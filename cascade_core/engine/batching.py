"""Pure policy: which rows share the next step, and which steps show a preview."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Final, Protocol, TypeVar

MAX_RATIO: Final = 16
"""The largest step that waits counts so many times as much as another one at most. Small steps take
longer than their work says: whatever its size, each reads all weights and starts all kernels. 16 is
the ratio of 2048x2048 px to 512x512 px."""


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
    gets the step; its next tag is later by the work of one of its rows. So all rows that wait get
    the same work in the same time, however large they are and however many share a step. A bucket
    without rows gathers no claim, as no tag is behind the clock.

    Yet a step counts as the largest one that waits, divided by :data:`MAX_RATIO`, at least. This is
    reckoned anew at every step: once the large row has left, small ones owe nothing for it.

    No row starves, however many rows arrive: between two steps of a bucket, each other bucket does
    at most ``ratio + 1`` steps. The ratio is the work of the one divided by the work of the other,
    but at least 1 and at most :data:`MAX_RATIO`. Of rows that do not fit into their bucket's step,
    those that have waited longest come first. A new row counts from the step of its admission, so
    all earlier rows come before it.
    """

    def __init__(self) -> None:
        self._clock = 0
        self._begun: dict[tuple[int, ...], int] = {}

    def next_rows(self, rows: Sequence[CandidateT]) -> list[CandidateT]:
        """Return the rows of the next step, longest waiting first: all of one bucket.

        Args:
            rows: those that are not done; without any there is no step.
        """
        if not rows:
            return []
        in_turn = sorted(rows, key=lambda row: (row.last_turn, row.arrival))
        buckets = list(dict.fromkeys(row.bucket for row in in_turn))
        largest = max(prod(bucket) for bucket in buckets)
        tags = {bucket: self._tag(bucket, largest) for bucket in buckets}
        bucket = min(buckets, key=tags.__getitem__)
        self._clock = self._begun[bucket] = tags[bucket]
        return [row for row in in_turn if row.bucket == bucket]

    def _tag(self, bucket: tuple[int, ...], largest: int) -> int:
        """Return where the next step of a bucket begins, in parts of ``1 / MAX_RATIO`` of work."""
        if bucket not in self._begun:
            return self._clock
        return max(self._clock, self._begun[bucket] + max(MAX_RATIO * prod(bucket), largest))


def preview_steps(steps: int, previews: int) -> frozenset[int]:
    """Return the steps of ``1 .. steps`` that a preview follows: evenly spread, never the last.

    There are fewer than ``previews`` if there are not enough steps.
    """
    wanted = min(previews, steps - 1)
    return frozenset(round(index * steps / (wanted + 1)) for index in range(1, wanted + 1))
