"""Places in line follow the work that users have open already."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cascade_core.request import GenerationRequest
from serve.line import Waiting, job_work, places, stage_work

MakeRequest = Callable[..., GenerationRequest]


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


def test_varying_is_less_work_than_generating(make_request: MakeRequest) -> None:
    generate = make_request()
    vary = make_request(kind="vary_details", latent_id="x")
    assert job_work(vary) == pytest.approx(job_work(generate) - stage_work("c", generate))


def test_work_grows_with_images_pixels_steps_and_guidance(make_request: MakeRequest) -> None:
    one = make_request(guidance_scale=1.0)
    assert job_work(make_request(guidance_scale=1.0, n=3)) == pytest.approx(3 * job_work(one))
    guided = make_request(guidance_scale=2.0)
    assert stage_work("c", guided) == 2 * stage_work("c", one)
    assert stage_work("b", guided) == stage_work("b", one)
    larger = make_request(guidance_scale=1.0, width=2 * one.width)
    assert job_work(larger) == pytest.approx(2 * job_work(one))
    longer = make_request(guidance_scale=1.0, steps=2 * one.steps)
    assert stage_work("c", longer) == 2 * stage_work("c", one)
