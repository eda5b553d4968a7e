from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from cascade_core.engine import StepEngine
from tests.cascade_core.toy_stage import Engine, MakeEngine, ToyStage

# The first draw builds tables of all of Unicode, and test machines are busy: no timing here.
settings.register_profile(
    "busy", deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("busy")


@pytest.fixture
def stage() -> ToyStage:
    return ToyStage()


@pytest.fixture
def make_engine(stage: ToyStage) -> Iterator[MakeEngine]:
    made: list[Engine] = []

    def make(max_rows: int) -> Engine:
        made.append(StepEngine(stage, max_rows))
        return made[-1]

    yield make
    for engine in made:
        engine.close()
        assert not engine.is_alive()
