from __future__ import annotations

import pytest

from cascade_core.families.stable_cascade import STABLE_CASCADE
from serve.autoscaling.demand import Demand
from tests.serve.null_stages import Stage


@pytest.fixture
def stages() -> dict[str, Stage]:
    """Stages that answer at once; modules that need others override this."""
    return {name: Stage(name) for name in STABLE_CASCADE.names}


@pytest.fixture
def demand() -> Demand:
    return Demand(STABLE_CASCADE.names)
