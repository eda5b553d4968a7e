"""Positions in the queue follow the work that users have open already."""

from __future__ import annotations

from serve.storage.queue_positions import Waiting, places


def line(*jobs: tuple[str, float]) -> list[Waiting]:
    """Queued jobs (user, work), oldest first; their ids count up."""
    return [Waiting(str(i), user, work, False) for i, (user, work) in enumerate(jobs)]


def order(jobs: list[Waiting]) -> list[str]:
    found = places(jobs)
    return sorted(found, key=lambda job_id: found[job_id].position)


def test_jobs_of_one_user_keep_their_order_and_add_up() -> None:
    found = places(line(("a", 1.0), ("a", 2.0), ("a", 4.0)))
    assert [(p.position, p.work_ahead) for p in found.values()] == [(0, 0.0), (1, 1.0), (2, 3.0)]


def test_a_newcomer_stands_behind_one_job_of_each_other_user() -> None:
    assert order(line(("a", 1.0), ("a", 1.0), ("a", 1.0), ("b", 1.0))) == ["0", "3", "1", "2"]


def test_eight_large_images_do_not_hold_up_one_small_job() -> None:
    assert order(line(("a", 1.0), ("a", 80.0), ("a", 80.0), ("b", 1.0), ("b", 1.0))) == [
        "0", "3", "1", "4", "2",
    ]  # fmt: skip


def test_running_jobs_are_ahead_of_all_others_and_count_for_their_user() -> None:
    jobs = line(("b", 1.0), ("a", 1.0))
    jobs.append(Waiting("2", "a", 1.0, True))
    jobs.append(Waiting("3", "b", 1.0, False))
    found = places(jobs)
    assert "2" not in found
    assert found["0"].position == 1
    assert order(jobs) == ["0", "1", "3"]
