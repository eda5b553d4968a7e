"""In the engine, modular rows take turns, and a cancelled one leaves between two steps."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from cascade_core.engine.engine import StepEngine
from cascade_core.engine.events import Event, Failed, Finished, Stepped
from cascade_core.pipeline import CascadePipeline
from tests.cascade_core.modular.requests import request
from tests.limits import HANG_S


def test_a_row_that_is_cancelled_midway_leaves_the_others_as_they_are(
    pipeline_of: Callable[[str], CascadePipeline],
) -> None:
    pipeline = pipeline_of("z_image")
    stage: Any = pipeline.stages["d"]
    wanted = request(steps=4)
    expected = pipeline.run(wanted).latent
    ends: dict[str, Event] = {}
    steps: dict[str, list[int]] = {"kept": [], "cancelled": []}
    is_over = threading.Event()
    handles: dict[str, Any] = {}

    def note(name: str, event: Event) -> None:
        if isinstance(event, Stepped):
            steps[name].append(event.step)
            if steps["cancelled"] == [1, 2]:
                handles["cancelled"].cancel()
        if isinstance(event, Finished | Failed):
            ends[name] = event
            if len(ends) == 2:
                is_over.set()

    engine: StepEngine[Any, Any, Any] = StepEngine(stage, 2)
    for name, made in (("kept", wanted), ("cancelled", request(seed=9, steps=40))):
        handles[name] = engine.submit(
            stage.make_task(None, made), lambda event, name=name: note(name, event)
        )
    engine.start()
    try:
        assert is_over.wait(HANG_S)
    finally:
        engine.close()

    kept, cancelled = ends["kept"], ends["cancelled"]
    assert isinstance(cancelled, Failed)
    assert cancelled.error.code == "cancelled"
    assert steps == {"kept": [1, 2, 3, 4], "cancelled": [1, 2]}
    assert isinstance(kept, Finished)
    made = kept.result.tensor("latents").array
    assert np.array_equal(made, expected.tensor("latents").array)
