"""Processes of every kind are killed at random under load; the long run is bench.chaos."""

from __future__ import annotations

from bench.chaos import Chaos
from serve.local import Running
from serve.settings import Settings
from tests.ray.client import ServiceClient


def test_under_random_kills_every_job_ends_once_with_the_right_pixels(
    running: Running, settings: Settings, service: ServiceClient
) -> None:
    report = Chaos(running.url, settings.database_url, seed=1).run(kills=8, clients=2)
    service.wait_until_ready()
    assert report.is_good, report
    assert report.kills.total() == 8
    assert report.ends["succeeded"] > 0
