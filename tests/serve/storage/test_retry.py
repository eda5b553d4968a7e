from __future__ import annotations

import pytest

from serve.storage.retry import WaitedTimes


@pytest.mark.parametrize(
    "reports",
    [
        [(0.0, 3.0), (1.0, 4.0), (3.0, 8.0)],
        [(1.0, 4.0), (0.0, 3.0), (3.0, 8.0)],
        [(3.0, 8.0), (1.0, 4.0), (0.0, 3.0)],
        [(0.0, 8.0), (1.0, 2.0)],
        [(0.0, 1.0), (2.0, 3.0), (1.0, 3.0), (0.0, 8.0)],
    ],
)
def test_time_that_images_of_a_job_wait_together_counts_once_in_any_order(
    reports: list[tuple[float, float]],
) -> None:
    waited = WaitedTimes()
    assert sum(waited.add("J1", since_s, until_s) for since_s, until_s in reports) == 8.0


def test_two_outages_count_without_the_time_between_them() -> None:
    waited = WaitedTimes()
    assert waited.add("J1", 0.0, 2.0) + waited.add("J1", 5.0, 6.0) == 3.0


def test_jobs_wait_each_for_itself_and_an_ended_one_is_forgotten() -> None:
    waited = WaitedTimes()
    assert waited.add("J1", 0.0, 2.0) == waited.add("J2", 0.0, 2.0) == 2.0
    waited.forget("J1")
    assert waited.add("J1", 0.0, 2.0) == 2.0
