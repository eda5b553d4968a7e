"""The cost of a step of 16 requests besides its U-Net: choosing, gathering, reporting.

python -m bench.engine.engine
"""

from __future__ import annotations

import threading
import time
from itertools import pairwise
from typing import Any, TypeVar

import torch

from bench.stats import machine, milliseconds, summary, write_result
from cascade_core.checkpoints.checkpoint import open_checkpoint
from cascade_core.checkpoints.weights import Placement, load_schedule, load_unet
from cascade_core.conditioning.text import TextEncoder
from cascade_core.engine.engine import StepEngine
from cascade_core.engine.events import Event, Failed, Finished, Stepped
from cascade_core.families.stable_cascade import STABLE_CASCADE
from cascade_core.models.unet import CascadeUnet
from cascade_core.pipeline import CascadePipeline
from cascade_core.request import GenerationRequest
from cascade_core.stages.base import Stage
from cascade_core.stages.stage_a import StageA
from cascade_core.stages.stage_b import StageB, StageBTask
from cascade_core.stages.stage_c import StageC, StageCTask
from serve.settings import load_settings

ROWS, STEPS = 16, 40
MEASURED = range(5, 36)
"""Steps between joining and leaving, when all rows are under way."""
TARGET_SHARE = 0.05

TaskT = TypeVar("TaskT")


class PassTimer:
    """The seconds that a U-Net's forward passes took until now, its device included."""

    def __init__(self, unet: CascadeUnet) -> None:
        self._device = unet.device
        self._begun_s = self.total_s = 0.0
        unet.register_forward_pre_hook(self._begin)
        unet.register_forward_hook(self._end)

    def _begin(self, *_: Any) -> None:
        self._begun_s = time.perf_counter()

    def _end(self, *_: Any) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize()
        self.total_s += time.perf_counter() - self._begun_s


def main() -> None:
    """Measure Stages C and B with the configured model and write the result."""
    where, settings = machine(), load_settings()
    torch.set_num_threads(settings.torch_threads)
    checkpoint = open_checkpoint(settings.model_source())
    device = "cuda" if settings.device != "cpu" and torch.cuda.is_available() else "cpu"
    placement = Placement(device=device, dtype=settings.dtype)
    prior, decoder = (
        load_unet(checkpoint, name, *placement.resolve()) for name in ("prior", "decoder")
    )
    text = TextEncoder.load(checkpoint, *placement.resolve())
    stage_c = StageC(checkpoint, prior, text, load_schedule(checkpoint, "prior_scheduler"), None)
    stage_b = StageB(checkpoint, decoder, load_schedule(checkpoint, "decoder_scheduler"), None)
    stages = (stage_c, stage_b, StageA.load(checkpoint, placement))
    pipeline = CascadePipeline(STABLE_CASCADE, {stage.name: stage for stage in stages})
    request = GenerationRequest(
        prompt="a lighthouse at dawn",
        width=checkpoint.defaults.width,
        height=checkpoint.defaults.height,
        seed=1,
        decoder_seed=1,
        steps=STEPS,
        decoder_steps=STEPS,
    )
    latent = pipeline.run(request).latent
    rows = {
        "C": _measure(stage_c, PassTimer(prior), StageCTask(request)),
        "B": _measure(stage_b, PassTimer(decoder), StageBTask(latent, request)),
    }
    write_result("engine", {"machine": where, "rows": ROWS, "stages": rows}, _table(rows))


def _measure(stage: Stage[TaskT, Any, Any], timer: PassTimer, task: TaskT) -> dict[str, Any]:
    """Return the seconds of each step of ``ROWS`` requests, and of the U-Net in it."""
    engine = StepEngine(stage, ROWS)
    marks: list[tuple[float, float]] = []
    ended = threading.Semaphore(0)
    failures: list[Exception] = []

    def emit(event: Event) -> None:
        if isinstance(event, Failed):
            failures.append(event.error)
        if isinstance(event, Finished | Failed):
            ended.release()

    def watch(event: Event) -> None:
        if isinstance(event, Stepped) and event.step in MEASURED:
            marks.append((time.perf_counter(), timer.total_s))
        emit(event)

    engine.start()
    for callback in [watch, *[emit] * (ROWS - 1)]:
        engine.submit(task, callback)
    for _ in range(ROWS):
        ended.acquire()
    engine.close()
    if failures:
        raise failures[0]
    steps = [(b[0] - a[0], b[1] - a[1]) for a, b in pairwise(marks)]
    return {
        "step_s": summary([whole_s for whole_s, _ in steps]),
        "unet_s": summary([unet_s for _, unet_s in steps]),
        "own_share": summary([1 - unet_s / whole_s for whole_s, unet_s in steps]),
    }


def _table(rows: dict[str, Any]) -> str:
    lines = [
        f"| a step of {ROWS} requests | in all | its U-Net | the rest | target |",
        "|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        step, unet = milliseconds(row["step_s"]), milliseconds(row["unet_s"])
        share = f"{row['own_share']['median']:.1%}"
        lines.append(f"| Stage {name} | {step} | {unet} | {share} | {TARGET_SHARE:.0%} |")
    note = "Medians (quartiles). The rest: choosing, gathering, the sampler's arithmetic, telling."
    return "\n".join([*lines, "", note])


if __name__ == "__main__":
    main()
