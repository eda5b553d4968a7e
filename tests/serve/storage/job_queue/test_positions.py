"""Positions in the queue follow the work that users have open already."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from serve.storage.job_queue.positions import JobInQueue, JobOrder

jobs_in_queue = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from([1.0, 2.0, 40.0]), st.booleans()), max_size=12
)


def queue(*jobs: tuple[str, float]) -> list[JobInQueue]:
    """Queued jobs (user, work), oldest first; their ids count up."""
    return [JobInQueue(str(i), user, work, seconds=work) for i, (user, work) in enumerate(jobs)]


def places(order: JobOrder, jobs: list[JobInQueue]) -> list[tuple[int, float]]:
    found = [order.place(job) for job in jobs]
    return [(place.position, place.seconds_ahead) for place in found]


def in_order(jobs: list[JobInQueue]) -> list[str]:
    found = JobOrder(jobs)
    queued = [job for job in jobs if not job.is_running]
    return [job.id for job in sorted(queued, key=lambda job: found.place(job).position)]


def test_jobs_of_one_user_keep_their_order_and_add_up() -> None:
    jobs = queue(("a", 1.0), ("a", 2.0), ("a", 4.0))
    assert places(JobOrder(jobs), jobs) == [(0, 0.0), (1, 1.0), (2, 3.0)]


def test_a_newcomer_stands_behind_one_job_of_each_other_user() -> None:
    assert in_order(queue(("a", 1.0), ("a", 1.0), ("a", 1.0), ("b", 1.0))) == ["0", "3", "1", "2"]


def test_eight_large_images_do_not_hold_up_one_small_job() -> None:
    assert in_order(queue(("a", 1.0), ("a", 80.0), ("a", 80.0), ("b", 1.0), ("b", 1.0))) == [
        "0", "3", "1", "4", "2",
    ]  # fmt: skip


def test_running_jobs_are_ahead_of_all_others_and_count_for_their_user() -> None:
    jobs = queue(("b", 1.0), ("a", 1.0))
    jobs.append(JobInQueue("2", "a", 1.0, True, 1.0))
    jobs.append(JobInQueue("3", "b", 1.0, seconds=1.0))
    assert places(JobOrder(jobs), jobs[:1]) == [(1, 1.0)]
    assert in_order(jobs) == ["0", "1", "3"]


@given(jobs_in_queue, st.integers(0, 12))
def test_jobs_added_one_by_one_stand_where_a_new_look_at_all_jobs_puts_them(
    drawn: list[tuple[str, float, bool]], known: int
) -> None:
    jobs = [
        JobInQueue(f"{i:02}", user, work, is_running and i < known, work)
        for i, (user, work, is_running) in enumerate(drawn)
    ]
    order = JobOrder(jobs[:known])
    for job in jobs[known:]:
        before_it_is_added = order.place(job)
        order.add(job)
        order.add(job)
        assert order.place(job) == before_it_is_added
    assert len(order) == len(jobs)
    assert places(order, jobs) == places(JobOrder(jobs), jobs)
