"""The command line of a service with fake stages: ``python -m tests.ray.fake_cascade up``."""

from __future__ import annotations

from functools import partial

from serve.cli.main import run
from serve.local import cluster
from tests.ray.fake_stages import FakeStage

if __name__ == "__main__":
    cluster.start = partial(cluster.start, stage_class=FakeStage)
    run()
