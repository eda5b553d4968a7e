"""What the card can do: matrix products, copies, launches; and what a picture asks of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from bench.gpu.timing import Clock
from bench.published import Scale, random_component
from bench.stats import summary
from cascade_core.geometry import Geometry
from cascade_core.request import GenerationRequest

REPEATS = 10
LAUNCHES = 1000
LARGEST = (8192, 8192, 8192)
PRODUCTS = (
    LARGEST,
    # The first matrix of a ResBlock at 1024 px: Stage C for a guided row, Stage B at 32 x 32 cells.
    (1152, 2048, 8192),
    (1024, 1280, 5120),
)
COPY_BYTES = 2**31
DRY_RUN_SHARE = 64
"""A CPU gets matrices with sides, and copies, so many times smaller."""


def measure(device: torch.device, dtype: torch.dtype) -> dict[str, dict[str, Any]]:
    """Return the rates of matrix products (FLOP/s) and copies (B/s), and seconds per launch."""
    share = 1 if device.type == "cuda" else DRY_RUN_SHARE
    clock, found = Clock(device), {}
    for sides in PRODUCTS:
        rows, inner, columns = (side // share for side in sides)
        left = torch.randn(rows, inner, device=device, dtype=dtype)
        right = torch.randn(inner, columns, device=device, dtype=dtype)
        amount = 2 * rows * inner * columns
        name = f"product of {rows} x {inner} and {inner} x {columns}"
        found[name] = _rate(clock, partial(torch.matmul, left, right), amount, "FLOP/s")
    source = torch.zeros(COPY_BYTES // share**2, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    # Each byte is read and written.
    moved = 2 * source.numel()
    found["copy in its memory"] = _rate(clock, lambda: target.copy_(source), moved, "B/s")
    one = torch.zeros(1, device=device)
    found["launch of a small kernel"] = _rate(
        clock, lambda: [one.add_(1) for _ in range(LAUNCHES)], LAUNCHES, "launches/s"
    )
    return found


def _rate(clock: Clock, work: Callable[[], object], amount: int, unit: str) -> dict[str, Any]:
    for _ in range(3):
        work()
    taken_s = [clock.seconds(work) for _ in range(REPEATS)]
    return {"rate": summary([amount / seconds for seconds in taken_s]), "unit": unit}


def flop(scale: Scale, request: GenerationRequest) -> dict[str, int]:
    """Return the FLOP of one row of each stage, and of a picture, counted on shapes alone."""
    geometry, meta = Geometry(), torch.device("meta")
    c_hw = geometry.stage_c_hw(request.height, request.width)
    b_hw = geometry.stage_b_hw(c_hw)

    def made(*shape: int) -> torch.Tensor:
        return torch.empty(1, *shape, device=meta)

    def component(name: str) -> Any:
        return random_component(scale, name, meta, torch.float32)

    text, pooled = (scale.text_encoder[key] for key in ("hidden_size", "projection_dim"))
    tokens = scale.text_encoder["max_position_embeddings"]
    prior, decoder, vqgan = component("prior"), component("decoder"), component("vqgan")
    time, pool = torch.empty(1, device=meta), made(1, pooled)
    image = made(1, scale.prior["clip_image_in_channels"])
    c_row = _flop(lambda: prior(made(16, *c_hw), time, pool, made(tokens, text), image))
    b_row = _flop(lambda: decoder(made(4, *b_hw), time, pool, effnet=made(16, *c_hw)))
    a_row = _flop(lambda: vqgan.decode(made(4, *b_hw)))
    # Stage C runs with guidance, so each step is two rows.
    picture = 2 * request.steps * c_row + request.decoder_steps * b_row + a_row
    return {"C row": c_row, "B row": b_row, "A row": a_row, "picture": picture}


def _flop(forward: Callable[[], object]) -> int:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        forward()
    return int(counter.get_total_flops())
