"""A stage's width follows its replicas, shared by the replicas that send it work."""

from __future__ import annotations

import pytest

from serve.fleet import width


@pytest.mark.parametrize(
    ("replicas", "rows", "jobs", "expected"),
    [(1, 1, 1, 1), (4, 1, 1, 4), (2, 4, 1, 8), (4, 1, 2, 2), (3, 1, 2, 2), (0, 4, 1, 1)],
)
def test_width_is_a_fair_share_of_all_rows_and_at_least_one(
    replicas: int, rows: int, jobs: int, expected: int
) -> None:
    assert width({"StageC": replicas, "Jobs": jobs}, "StageC", rows) == expected


def test_a_stage_nobody_knows_of_yet_has_width_one() -> None:
    assert width({}, "StageC", 4) == 1
