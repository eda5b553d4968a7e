from __future__ import annotations

import pytest

from serve.stages.deployments import StageDeployment


@pytest.fixture(scope="module")
def stage_class() -> type:
    """The real stages, for tests that look at pictures."""
    return StageDeployment
