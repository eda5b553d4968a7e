"""The cost of hand-offs: encoding and decoding full-size latents, against a copy of the bytes.

python -m bench.engine.handoff
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.stats import machine, milliseconds, summary, write_result
from cascade_core.geometry import Geometry
from cascade_core.handoff import ModelRef, StageBLatent, StageCLatent, Tensor
from cascade_core.request import GenerationRequest

REPEATS = 300
SIDE_PX = 1024
TEXT_CHANNELS = 1280
TARGETS_MS = {"Stage C to B": 0.2, "Stage B to A": 1.0}


def main() -> None:
    """Measure both hand-offs at 1024x1024 in bfloat16 and write the result."""
    where = machine()
    rows = {name: _measure(latent) for name, latent in _latents().items()}
    lines = [
        "| hand-off, 1024x1024, bfloat16 | bytes | encode + decode | bare copy | target |",
        "|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        both, copy = milliseconds(row["encode_decode_s"]), milliseconds(row["copy_s"])
        lines.append(f"| {name} | {row['bytes']} | {both} | {copy} | {TARGETS_MS[name]} ms |")
    write_result("handoff", {"machine": where, "rows": rows}, "\n".join(lines))


def _latents() -> dict[str, StageCLatent | StageBLatent]:
    rng = np.random.default_rng(0)
    geometry = Geometry()
    stage_c_hw = geometry.stage_c_hw(SIDE_PX, SIDE_PX)
    request = GenerationRequest(
        prompt="a lighthouse at dawn, oil on canvas",
        width=SIDE_PX,
        height=SIDE_PX,
        seed=1,
        decoder_seed=1,
    )
    model = ModelRef("stabilityai/stable-cascade", "0" * 40, "0" * 64)

    def tensor(*shape: int) -> Tensor:
        bits = rng.standard_normal(shape).astype("<f4").view("<u4") >> 16
        return Tensor("bfloat16", bits.astype("<u2"))

    pooled, negative = tensor(1, TEXT_CHANNELS), tensor(1, TEXT_CHANNELS)
    shared: dict[str, Any] = {"geometry": geometry, "model": model, "request": request}
    return {
        "Stage C to B": StageCLatent(
            latents_chw=tensor(16, *stage_c_hw), pooled=pooled, negative_pooled=negative, **shared
        ),
        "Stage B to A": StageBLatent(
            latents_chw=tensor(4, *geometry.stage_b_hw(stage_c_hw)), **shared
        ),
    }


def _measure(latent: StageCLatent | StageBLatent) -> dict[str, Any]:
    data = latent.encode()
    kind = type(latent)
    return {
        "bytes": len(data),
        "encode_decode_s": summary(_seconds(lambda: kind.decode(latent.encode()))),
        "copy_s": summary(_seconds(lambda: bytearray(data))),
    }


def _seconds(work: Callable[[], object]) -> list[float]:
    work()
    samples = []
    for _ in range(REPEATS):
        started_s = time.perf_counter()
        work()
        samples.append(time.perf_counter() - started_s)
    return samples


if __name__ == "__main__":
    main()
