"""A comparison: jobs of one prompt and one seed, each with another model or other settings."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import combinations
from typing import Any, Final, Literal, get_args

from cascade_core.comparison_jobs import job_id
from serve.storage.records import JobOwner

MAX_ENTRIES: Final = 4
Vote = Literal["left", "right", "same"]
CHOICES: Final = get_args(Vote)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two pictures of one index that people compare.

    Attributes:
        index: of the pair in its comparison.
        image_index: of both pictures in their jobs.
        left, right: the entries of the comparison that made them.
    """

    index: int
    image_index: int
    left: int
    right: int

    def preferred(self, vote: Vote) -> int | None:
        """Return the entry that a vote prefers; None: neither."""
        return None if vote == "same" else self.left if vote == "left" else self.right


@dataclass(frozen=True, slots=True)
class Comparison:
    """A comparison as it is stored; its jobs are rows of their own.

    Attributes:
        seed, n: of each of its jobs.
        settings: by entry, what its job was given beyond what all have in common.
        models: by entry, the id of the model that draws it.
    """

    id: str
    owner: JobOwner
    created_at: datetime
    prompt: str
    seed: int
    n: int
    settings: tuple[Mapping[str, Any], ...]
    models: tuple[str, ...]

    @property
    def job_ids(self) -> list[str]:
        """The ids of its jobs, by entry; they follow from its own id."""
        return [job_id(self.id, entry) for entry in range(len(self.settings))]

    @property
    def pairs(self) -> list[Pair]:
        """Each two pictures of one index; which is left is the same for every reader."""
        every = combinations(range(len(self.settings)), 2)
        places = [(index, two) for two in every for index in range(self.n)]
        return [
            Pair(number, index, *(two if _is_in_order(self.id, number) else two[::-1]))
            for number, (index, two) in enumerate(sorted(places))
        ]

    def tally(self, votes: Mapping[tuple[int, str], int]) -> dict[str, Any]:
        """Return how many votes prefer each entry, and how many none.

        Args:
            votes: how many, by pair and choice.
        """
        counts, same = [0] * len(self.settings), 0
        for pair in self.pairs:
            counts[pair.left] += votes.get((pair.index, "left"), 0)
            counts[pair.right] += votes.get((pair.index, "right"), 0)
            same += votes.get((pair.index, "same"), 0)
        return {"votes": counts, "same": same}


def _is_in_order(comparison_id: str, pair: int) -> bool:
    return hashlib.sha256(f"{comparison_id}/{pair}".encode()).digest()[0] % 2 == 0
