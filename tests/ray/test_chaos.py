"""Processes of every kind are killed at random under load; the long run is bench.service.chaos."""

from __future__ import annotations

from bench.service.chaos import Chaos, Report
from serve.settings import Settings
from tests.private_postgres import PrivatePostgres
from tests.ray.shared_cluster import SharedCluster


def checked_chaos(cluster: SharedCluster, settings: Settings, seed: int, kills: int) -> Report:
    """Kill processes of a service with these settings; nothing may be lost."""
    running = cluster.serve(settings)
    report = Chaos(running.url, settings.database_url, seed).run(kills, clients=2)
    assert report.is_good, report
    assert report.kills.total() == kills
    assert report.ends["succeeded"] > 0
    return report


def test_under_random_kills_every_job_ends_once_with_the_right_pixels(
    cluster: SharedCluster, settings: Settings
) -> None:
    report = checked_chaos(cluster, settings, seed=1, kills=4)
    assert report.drafts > 0
    assert report.from_uploads > 0


def test_under_random_kills_nothing_is_lost_on_postgresql_either(
    cluster: SharedCluster, settings: Settings, postgres: PrivatePostgres
) -> None:
    url = postgres.new_database()
    elsewhere = settings.model_copy(update={"database_url": url, "dbos_url": url})
    report = checked_chaos(cluster, elsewhere, seed=14, kills=2)
    assert report.kills["Jobs"] > 0  # it writes most to the database
