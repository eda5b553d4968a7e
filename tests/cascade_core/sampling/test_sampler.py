from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any
from unittest.mock import patch

import pytest
import torch
from diffusers import DDPMWuerstchenScheduler
from hypothesis import given
from hypothesis import strategies as st

from cascade_core.sampling import noise as noise_module
from cascade_core.sampling.noise import NoiseStream
from cascade_core.sampling.sampler import SamplerRow, advance, guidance_tensor, is_guided
from cascade_core.sampling.step_tables import CosineSchedule, make_step_table

SHAPE = (1, 4, 6, 6)


class FakeUnet:
    """Predicts noise from the latent, the time and the held conditioning of each row alone."""

    device = torch.device("cpu")

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        self.dtype = dtype

    def time_table(self, times: torch.Tensor) -> torch.Tensor:
        return times[:, None]

    def __call__(
        self, latents_bchw: torch.Tensor, times_bt: torch.Tensor, held: Sequence[torch.Tensor]
    ) -> torch.Tensor:
        assert times_bt.dtype == latents_bchw.dtype
        return latents_bchw * 0.7 + times_bt.view(-1, 1, 1, 1) + torch.cat(list(held))


class BrokenUnet(FakeUnet):
    def __call__(self, *_: Any) -> torch.Tensor:
        raise RuntimeError("out of memory")


class KnowingUnet(FakeUnet):
    """Predicts the noise that was added."""

    def __init__(self, noise_bchw: torch.Tensor) -> None:
        super().__init__()
        self.noise_bchw = noise_bchw

    def __call__(self, *_: Any) -> torch.Tensor:
        return self.noise_bchw


def make_row(
    seed: int = 0, steps: int = 4, scale: float = 0.0, dtype: torch.dtype = torch.float32
) -> SamplerRow:
    noise = NoiseStream(seed, SHAPE, dtype, FakeUnet.device, 1 + steps)
    return SamplerRow(
        latents_bchw=noise.draw(),
        table=make_step_table(FakeUnet(dtype), CosineSchedule(), steps),
        noise=noise,
        cond=torch.full((1, 1, 1, 1), 0.5, dtype=dtype),
        uncond=torch.full((1, 1, 1, 1), -0.25, dtype=dtype) if is_guided(scale) else None,
        guidance=guidance_tensor(scale, FakeUnet.device),
    )


def run_stock(row_seed: int, steps: int, scale: float, dtype: torch.dtype) -> torch.Tensor:
    generator = torch.Generator("cpu").manual_seed(row_seed)
    scheduler = DDPMWuerstchenScheduler()
    scheduler.set_timesteps(steps)
    latents = torch.randn(SHAPE, generator=generator, dtype=dtype)
    row = make_row(row_seed, steps, max(scale, 2.0), dtype)
    for t in scheduler.timesteps[:-1]:
        ratio = t.expand(1).to(dtype)
        predicted = FakeUnet()(latents, ratio[:, None], [row.cond])
        if is_guided(scale):
            without = FakeUnet()(latents, ratio[:, None], [row.uncond])
            predicted = torch.lerp(without, predicted, scale)
        latents = scheduler.step(predicted, ratio, latents, generator=generator).prev_sample
    return latents


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("steps", "scale"), [(1, 0.0), (4, 5.3), (20, 1.0), (100, 2.7)])
def test_every_step_equals_the_stock_scheduler_to_the_bit(
    steps: int, scale: float, dtype: torch.dtype
) -> None:
    row = make_row(3, steps, scale, dtype)
    while row.step < row.steps:
        advance(FakeUnet(), [row])
    assert row.latents_bchw.dtype == dtype
    assert torch.equal(row.latents_bchw, run_stock(3, steps, scale, dtype))


def test_rows_at_different_times_and_scales_step_as_if_alone() -> None:
    mixed = [(1, 3, 0.0), (2, 9, 4.0), (3, 5, 1.0), (4, 7, 6.5)]
    rows = [make_row(*values) for values in mixed]
    while running := [row for row in rows if row.step < row.steps]:
        advance(FakeUnet(), running)
    for row, values in zip(rows, mixed, strict=True):
        assert torch.equal(row.latents_bchw, run_stock(*values, torch.float32))


ROWS = st.lists(
    st.tuples(st.integers(1, 6), st.sampled_from([0.0, 1.0, 2.7, 5.3]), st.integers(0, 8)),
    min_size=1,
    max_size=5,
)
"""Steps and guidance of each row, and the step of the batch at which it joins."""


@given(ROWS, st.integers(1, 3))
def test_rows_that_join_and_leave_at_any_step_equal_themselves_alone_to_the_bit(
    given_rows: list[tuple[int, float, int]], draws_per_block: int
) -> None:
    draw_bytes = prod(SHAPE) * torch.float32.itemsize
    with patch.object(noise_module, "BLOCK_BYTES", draws_per_block * draw_bytes):
        rows = [make_row(seed, *values[:2]) for seed, values in enumerate(given_rows)]
        joins = [join for _, _, join in given_rows]
        tick = 0
        while any(row.step < row.steps for row in rows):
            here = [row for row, join in zip(rows, joins, strict=True) if join <= tick]
            if running := [row for row in here if row.step < row.steps]:
                advance(FakeUnet(), running)
            tick += 1
    for seed, (row, (steps, scale, _)) in enumerate(zip(rows, given_rows, strict=True)):
        assert torch.equal(row.latents_bchw, run_stock(seed, steps, scale, torch.float32))


def test_a_failing_step_leaves_every_row_as_it_was_and_can_be_repeated() -> None:
    rows = [make_row(1, 3, 4.0), make_row(2, 5, 0.0)]
    before = [row.latents_bchw for row in rows]

    with pytest.raises(RuntimeError):
        advance(BrokenUnet(), rows)
    assert [row.step for row in rows] == [0, 0]
    assert all(row.latents_bchw is old for row, old in zip(rows, before, strict=True))
    while rows[0].step < rows[0].steps:
        advance(FakeUnet(), rows[:1])
    assert torch.equal(rows[0].latents_bchw, run_stock(1, 3, 4.0, torch.float32))


def test_only_a_scale_above_one_guides() -> None:
    assert [is_guided(scale) for scale in (0.0, 1.0, 1.01)] == [False, False, True]


def test_the_clean_prediction_undoes_added_noise() -> None:
    torch.manual_seed(0)
    clean, noise = torch.randn(SHAPE), torch.randn(SHAPE)
    t = torch.tensor([0.5])
    noisy = DDPMWuerstchenScheduler().add_noise(clean, noise, t)
    row = make_row(steps=2)
    row.step, row.latents_bchw = 1, noisy

    advance(KnowingUnet(noise), [row])
    assert row.last is not None
    assert torch.allclose(row.last.clean(), clean, atol=1e-5)
