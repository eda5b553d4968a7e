"""Starting and stopping the real command: a stopped service goes on later."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.limits import HANG_S
from tests.private_postgres import PrivatePostgres
from tests.ray.client import free_port
from tests.ray.starting import cascade_up
from tests.s3_server import new_bucket

PROMPT = "a large green heart in the center on a white background"


def test_what_a_stop_interrupts_goes_on_at_the_next_start(tmp_path: Path) -> None:
    port = free_port()
    slow = {"width": 512, "height": 512, "steps": 100, "decoder_steps": 100}
    with cascade_up(tmp_path, port) as (process, service):
        job_id = service.create(prompt=PROMPT, seed=1, **slow)["id"]
        service.until(job_id, "progress", "c")
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=HANG_S)
        assert process.returncode == 0
        assert "1 job goes on at the next start" in output
    with cascade_up(tmp_path, port) as (_, service):
        job = service.finished(job_id)
        assert job["state"] == "succeeded", job["error"]


def test_the_service_runs_on_postgresql_and_s3(
    tmp_path: Path,
    postgres: PrivatePostgres,
    s3_server: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CASCADE_DATABASE_URL", postgres.new_database())
    monkeypatch.setenv("CASCADE_DBOS_URL", postgres.new_database())
    monkeypatch.setenv("CASCADE_BLOB_URL", new_bucket(s3_server, monkeypatch))
    with cascade_up(tmp_path, free_port()) as (process, service):
        made = service.finished(service.create(prompt=PROMPT, seed=1)["id"])
        assert made["state"] == "succeeded", made["error"]
        latent_id = made["images"][0]["latent_id"]
        varied = service.finished(service.create(kind="vary_details", latent_id=latent_id)["id"])
        assert varied["state"] == "succeeded", varied["error"]
        assert service.http.get(f"/v1/images/{varied['images'][0]['id']}").status_code == 200
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=HANG_S)
        assert process.returncode == 0
    assert list(tmp_path.rglob("*.db")) == list(tmp_path.rglob("*.png")) == []
