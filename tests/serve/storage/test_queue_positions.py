"""Positions in the queue follow the work that users have open already."""

from __future__ import annotations

from serve.storage.estimates import JobInQueue, queue_positions


def queue(*jobs: tuple[str, float]) -> list[JobInQueue]:
    """Queued jobs (user, work), oldest first; their ids count up."""
    return [JobInQueue(str(i), user, work, False) for i, (user, work) in enumerate(jobs)]


def order(jobs: list[JobInQueue]) -> list[str]:
    found = queue_positions(jobs)
    return sorted(found, key=lambda job_id: found[job_id].position)


def test_jobs_of_one_user_keep_their_order_and_add_up() -> None:
    found = queue_positions(queue(("a", 1.0), ("a", 2.0), ("a", 4.0)))
    assert [(p.position, p.work_ahead) for p in found.values()] == [(0, 0.0), (1, 1.0), (2, 3.0)]


def test_a_newcomer_stands_behind_one_job_of_each_other_user() -> None:
    assert order(queue(("a", 1.0), ("a", 1.0), ("a", 1.0), ("b", 1.0))) == ["0", "3", "1", "2"]


def test_eight_large_images_do_not_hold_up_one_small_job() -> None:
    assert order(queue(("a", 1.0), ("a", 80.0), ("a", 80.0), ("b", 1.0), ("b", 1.0))) == [
        "0", "3", "1", "4", "2",
    ]  # fmt: skip


def test_running_jobs_are_ahead_of_all_others_and_count_for_their_user() -> None:
    jobs = queue(("b", 1.0), ("a", 1.0))
    jobs.append(JobInQueue("2", "a", 1.0, True))
    jobs.append(JobInQueue("3", "b", 1.0, False))
    found = queue_positions(jobs)
    assert "2" not in found
    assert found["0"].position == 1
    assert order(jobs) == ["0", "1", "3"]
