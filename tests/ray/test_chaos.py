"""Processes of every kind are killed at random under load; the long run is bench.service.chaos."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench.service.chaos import Chaos
from serve.local.cluster import Running
from serve.settings import Settings
from tests.private_postgres import PrivatePostgres
from tests.ray.client import ServiceClient
from tests.ray.deploying import deploy


def check_nothing_is_lost(
    running: Running, settings: Settings, service: ServiceClient, kills: int
) -> None:
    report = Chaos(running.url, settings.database_url, seed=1).run(kills, clients=2)
    service.wait_until_ready()
    assert report.is_good, report
    assert report.kills.total() == kills
    assert report.ends["succeeded"] > 0


@pytest.fixture
def on_postgres(
    running: Running, settings: Settings, postgres: PrivatePostgres
) -> Iterator[Settings]:
    url = postgres.new_database()
    elsewhere = settings.model_copy(update={"database_url": url, "dbos_url": url})
    deploy(elsewhere)
    yield elsewhere
    deploy(settings)


def test_under_random_kills_every_job_ends_once_with_the_right_pixels(
    running: Running, settings: Settings, service: ServiceClient
) -> None:
    check_nothing_is_lost(running, settings, service, kills=4)


def test_under_random_kills_nothing_is_lost_on_postgresql_either(
    running: Running, on_postgres: Settings, service: ServiceClient
) -> None:
    check_nothing_is_lost(running, on_postgres, service, kills=4)
