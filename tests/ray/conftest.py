"""One real Ray cluster that tests share; it stops after the last of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from cascade_core.checkpoints.checkpoint import ModelSource, open_checkpoint
from cascade_core.checkpoints.weights import Placement
from cascade_core.families.stable_cascade import STABLE_CASCADE
from cascade_core.pipeline import CascadePipeline
from serve.local.running import Running
from serve.settings import Settings
from tests.collector import Collector, collecting
from tests.limits import HANG_S
from tests.ray.client import ServiceClient, free_port
from tests.ray.fake_stages import FakeStage
from tests.ray.shared_cluster import SharedCluster
from tests.sharing import SHARED_CLUSTER, group

_CLUSTER = SharedCluster()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Stop the shared cluster after its last test: an idle one takes CPU time from the others."""
    if nextitem is None or group(nextitem.nodeid) != SHARED_CLUSTER:
        _CLUSTER.stop()


@pytest.fixture(scope="session")
def cluster() -> Iterator[SharedCluster]:
    yield _CLUSTER
    _CLUSTER.stop()


@pytest.fixture(scope="session")
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory, collector: Collector) -> Settings:
    data_dir: Path = tmp_path_factory.mktemp("data")
    return Settings(
        data_dir=data_dir,
        http_port=free_port(),
        device="cpu",
        drain_s=5.0,
        # Tests ask for the same pictures and want to see Stage C at work.
        reuse_latents=False,
        otlp_endpoint=collector.url,
    )


@pytest.fixture(scope="module")
def stage_class() -> type:
    """Fake stages; tests of pictures override this."""
    return FakeStage


@pytest.fixture(scope="module")
def running(cluster: SharedCluster, settings: Settings, stage_class: type) -> Running:
    """The service on the shared cluster."""
    return cluster.serve(settings, stage_class=stage_class)


@pytest.fixture
def service(running: Running) -> Iterator[ServiceClient]:
    with httpx.Client(base_url=running.url, timeout=HANG_S) as http:
        yield ServiceClient(http)


@pytest.fixture(scope="session")
def pipeline() -> CascadePipeline:
    placement = Placement(device="cpu", dtype="float32")
    return CascadePipeline.load(open_checkpoint(ModelSource()), placement, STABLE_CASCADE)
