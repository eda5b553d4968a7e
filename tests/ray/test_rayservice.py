"""The production overlay, deployed to a real Ray cluster by the call that KubeRay makes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.k8s.manifests import ROOT, serve_config
from tests.ray.client import ServiceClient, free_port

POOLS = {
    "Gateway": {"front"},
    "Jobs": {"front"},
    "StageC": {"gpu-large"},
    "StageB": {"gpu-small"},
    "StageA": {"gpu-small"},
}


@contextmanager
def cluster(overlay: str, instead: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Run the overlay's Ray cluster in processes of its own; gives where it is."""
    command = [sys.executable, "-m", "tests.ray.rayservice_cluster", overlay, json.dumps(instead)]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    # Ray asks for its token as soon as the home folder has one, from whatever cluster ran before.
    without_token = os.environ | {"RAY_AUTH_MODE": "disabled"}
    with subprocess.Popen(command, cwd=ROOT, env=without_token, **pipes) as process:
        assert process.stdout is not None
        yield next(json.loads(line) for line in process.stdout if line.startswith("{"))


def deployed(dashboard: httpx.Client, config: dict[str, Any]) -> dict[str, Any]:
    """Send the configuration as KubeRay does; returns the application once it runs."""
    dashboard.put("/api/serve/applications/", json=config).raise_for_status()
    for _ in range(1800):
        state = dashboard.get("/api/serve/applications/").raise_for_status().json()
        application: dict[str, Any] = state["applications"].get("cascade", {})
        assert application.get("status") != "DEPLOY_FAILED", application["message"]
        if application.get("status") == "RUNNING":
            return application
        threading.Event().wait(0.1)
    raise AssertionError(f"not running: {application}")


def test_the_production_overlay_runs_and_each_stage_lands_in_its_pool(tmp_path: Path) -> None:
    # What is not to be had here: GPUs, PostgreSQL's and S3's addresses, a port that is surely free.
    instead = {
        "CASCADE_DEVICE": "cpu",
        "CASCADE_DATA_DIR": str(tmp_path),
        "CASCADE_BLOB_URL": (tmp_path / "blobs").as_uri(),
    }
    config = serve_config("prod")
    config["http_options"]["port"] = free_port()
    url = f"http://127.0.0.1:{config['http_options']['port']}"
    with (
        cluster("prod", instead) as where,
        httpx.Client(base_url=where["dashboard"], timeout=60) as dashboard,
        httpx.Client(base_url=url, timeout=120) as http,
    ):
        application = deployed(dashboard, config)
        found = {
            name: {where["pools"][replica["node_id"]] for replica in deployment["replicas"]}
            for name, deployment in application["deployments"].items()
        }
        assert found == POOLS
        service = ServiceClient(http)
        service.wait_until_ready()
        job = service.finished(service.create(kind="generate", prompt="a red circle")["id"])
        assert job["state"] == "succeeded"
