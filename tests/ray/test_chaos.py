"""Processes of every kind are killed at random under load; the long run is bench.service.chaos."""

from __future__ import annotations

from bench.service.chaos import Chaos
from serve.local.cluster import Running
from serve.settings import Settings
from tests.private_postgres import PrivatePostgres
from tests.ray.client import ServiceClient
from tests.ray.shared_cluster import SharedCluster


def check_nothing_is_lost(
    running: Running, settings: Settings, service: ServiceClient, seed: int, kills: int
) -> None:
    report = Chaos(running.url, settings.database_url, seed).run(kills, clients=2)
    service.wait_until_ready()
    assert report.is_good, report
    assert report.kills.total() == kills
    assert report.ends["succeeded"] > 0


def test_under_random_kills_every_job_ends_once_with_the_right_pixels(
    running: Running, settings: Settings, service: ServiceClient
) -> None:
    check_nothing_is_lost(running, settings, service, seed=1, kills=4)


def test_under_random_kills_nothing_is_lost_on_postgresql_either(
    cluster: SharedCluster, settings: Settings, service: ServiceClient, postgres: PrivatePostgres
) -> None:
    url = postgres.new_database()
    elsewhere = settings.model_copy(update={"database_url": url, "dbos_url": url})
    running = cluster.serve(elsewhere)
    # With this seed the first to be killed is Jobs, which writes most to the database.
    check_nothing_is_lost(running, elsewhere, service, seed=7, kills=2)
