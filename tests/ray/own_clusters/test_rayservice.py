"""The production overlay, deployed to a real Ray cluster by the call that KubeRay makes."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from ray.dashboard.http_server_agent import PUBLIC_EXACT_PATHS

from cascade_core.pipeline import CascadePipeline
from cascade_core.request import GenerationRequest
from tests.k8s.manifests import ROOT, serve_config
from tests.limits import HANG_S
from tests.ray.client import (
    ServiceClient,
    check_ended_well_and_once,
    check_same_picture,
    free_port,
    pixels,
)

TOKEN = secrets.token_hex(32)
SHOWS_TOKEN = {"x-ray-authorization": f"Bearer {TOKEN}"}
"""The header that KubeRay's operator sends."""
POOLS: dict[str, set[str]] = {
    "StageE": set(),  # until an upload is used
    "Gateway": {"front"},
    "Jobs": {"front"},
    "StageC": {"gpu-large"},
    "StageB": {"gpu-small"},
    "StageA": {"gpu-small"},
}


class Cluster:
    """The overlay's Ray cluster, in processes of its own.

    Attributes:
        pools: which pool each node belongs to, by node id.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        where = self._answer()
        self.dashboard: str = where["dashboard"]
        self.pools: dict[str, str] = where["pools"]

    def replace_node(self, pool: str) -> None:
        """Kill the only node of a pool and start another, as KubeRay does with pods."""
        assert self._process.stdin is not None
        print(pool, file=self._process.stdin, flush=True)
        self.pools = self._answer()["pools"]

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        answer: dict[str, Any] = next(
            json.loads(line) for line in self._process.stdout if line.startswith("{")
        )
        return answer


@contextmanager
def cluster(overlay: str, instead: dict[str, str]) -> Iterator[Cluster]:
    command = [
        sys.executable,
        "-m",
        "tests.ray.own_clusters.rayservice_cluster",
        overlay,
        json.dumps(instead),
    ]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    variables = os.environ | {
        # As KubeRay sets them for `authOptions`, which test_pods.py looks for.
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": TOKEN,
        # A node is gone after five checks that failed; by default these are 3 s apart.
        "RAY_health_check_period_ms": "500",
    }
    with subprocess.Popen(command, cwd=ROOT, env=variables, **pipes) as process:
        yield Cluster(process)


class RayService:
    """The service on that cluster."""

    def __init__(self, cluster: Cluster, dashboard: httpx.Client, http: httpx.Client) -> None:
        self.cluster = cluster
        self.service = ServiceClient(http)
        self._dashboard = dashboard

    def deploy(self, config: dict[str, Any]) -> None:
        """Send the configuration as KubeRay does; returns once the application runs."""
        self._dashboard.put("/api/serve/applications/", json=config).raise_for_status()
        for _ in range(1800):
            application = self.application()
            assert application.get("status") != "DEPLOY_FAILED", application["message"]
            if application.get("status") == "RUNNING":
                return
            threading.Event().wait(0.1)
        raise AssertionError(f"not running: {application}")

    def application(self) -> dict[str, Any]:
        """Return what Serve says of the application."""
        state = self._dashboard.get("/api/serve/applications/").raise_for_status().json()
        application: dict[str, Any] = state["applications"].get("cascade", {})
        return application

    def found(self) -> dict[str, set[str | None]]:
        """Return in which pools each deployment's replicas run."""
        return {
            name: {
                self.cluster.pools.get(replica["node_id"])
                for replica in deployment["replicas"]
                if replica["state"] == "RUNNING"
            }
            for name, deployment in self.application()["deployments"].items()
        }


@pytest.fixture(scope="module")
def rayservice(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayService]:
    data_dir = tmp_path_factory.mktemp("data")
    # What is not to be had here: GPUs, PostgreSQL's and S3's addresses, a port that is surely free.
    instead = {
        "CASCADE_DEVICE": "cpu",
        "CASCADE_DATA_DIR": str(data_dir),
        "CASCADE_BLOB_URL": (data_dir / "blobs").as_uri(),
    }
    config = serve_config("prod")
    config["http_options"]["port"] = free_port()
    url = f"http://127.0.0.1:{config['http_options']['port']}"
    with (
        cluster("prod", instead) as nodes,
        httpx.Client(base_url=nodes.dashboard, headers=SHOWS_TOKEN, timeout=HANG_S) as dashboard,
        httpx.Client(base_url=url, timeout=HANG_S) as http,
    ):
        rayservice = RayService(nodes, dashboard, http)
        rayservice.deploy(config)
        rayservice.service.wait_until_ready()
        yield rayservice


def test_the_production_overlay_runs_and_each_stage_lands_in_its_pool(
    rayservice: RayService,
) -> None:
    assert rayservice.found() == POOLS
    service = rayservice.service
    job = service.finished(service.create(kind="generate", prompt="a red circle")["id"])
    assert job["state"] == "succeeded"


def test_rays_dashboard_runs_nothing_and_shows_nothing_without_the_token(
    rayservice: RayService,
) -> None:
    url = rayservice.cluster.dashboard
    for headers in ({}, {"x-ray-authorization": "Bearer another"}):
        with httpx.Client(base_url=url, headers=headers, timeout=HANG_S) as stranger:
            run = stranger.post("/api/jobs/", json={"entrypoint": "id"})
            shown = stranger.get("/api/serve/applications/")
            assert run.status_code in (401, 403)
            assert shown.status_code in (401, 403)
            assert stranger.get("/api/gcs_healthz").status_code == 200
    # What KubeRay's probes ask the agent of each pod is told to all, too.
    assert set(PUBLIC_EXACT_PATHS) == {"/api/healthz", "/api/local_raylet_healthz"}


def test_a_gpu_node_that_vanishes_under_load_costs_no_job_and_no_finished_stage(
    rayservice: RayService, pipeline: CascadePipeline
) -> None:
    service = rayservice.service
    under_way = [
        service.create(prompt="a blue ring", seed=seed, decoder_steps=60)["id"] for seed in range(3)
    ]
    service.until(under_way[0], "progress", "b")
    rayservice.cluster.replace_node("gpu-small")
    for job_id in under_way:
        job = check_ended_well_and_once(service, job_id)
        expected = pipeline.run(GenerationRequest.from_dict(job["request"])).pixels_hwc
        check_same_picture(pixels(service, job["images"][0]["id"]), expected)
    assert rayservice.found() == POOLS
