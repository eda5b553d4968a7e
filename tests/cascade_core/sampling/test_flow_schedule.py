"""Steps against the direction of a flow, with diffusers' scheduler as the oracle."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from cascade_core.sampling.flow_schedule import FlowSchedule
from cascade_core.sampling.noise import NoNoise
from cascade_core.sampling.sampler import SamplerRow, advance, guidance_tensor, is_guided
from cascade_core.sampling.step_tables import make_step_table

SHAPE = (1, 4, 6, 6)


class FakeNet:
    """Predicts a direction from the latent, the time and the held conditioning of each row."""

    device = torch.device("cpu")
    dtype = torch.float32

    def time_table(self, times: torch.Tensor) -> torch.Tensor:
        return times[:, None]

    def __call__(
        self, latents_bchw: torch.Tensor, times_bt: torch.Tensor, held: Sequence[torch.Tensor]
    ) -> torch.Tensor:
        return latents_bchw * 0.7 + times_bt.view(-1, 1, 1, 1) + torch.cat(list(held))


class StraightNet(FakeNet):
    """Knows the way from one picture to one noise."""

    def __init__(self, clean_bchw: torch.Tensor, noise_bchw: torch.Tensor) -> None:
        self.direction_bchw = noise_bchw - clean_bchw

    def __call__(
        self, latents_bchw: torch.Tensor, _times: torch.Tensor, _held: Sequence[torch.Tensor]
    ) -> torch.Tensor:
        return self.direction_bchw.expand_as(latents_bchw)


def make_row(
    latents_bchw: torch.Tensor, steps: int, shift: float, scale: float = 0.0, start: float = 1.0
) -> SamplerRow:
    return SamplerRow(
        latents_bchw=latents_bchw,
        table=make_step_table(FakeNet(), FlowSchedule(shift), steps, start),
        noise=NoNoise(latents_bchw),
        cond=torch.full((1, 1, 1, 1), 0.5),
        uncond=torch.full((1, 1, 1, 1), -0.25) if is_guided(scale) else None,
        guidance=guidance_tensor(scale, FakeNet.device),
    )


def run_stock(latents: torch.Tensor, steps: int, shift: float, scale: float) -> torch.Tensor:
    """Run diffusers' scheduler as its pipelines do, with even times before the shift."""
    scheduler = FlowMatchEulerDiscreteScheduler(shift=shift)
    scheduler.set_timesteps(sigmas=np.linspace(1.0, 1 / steps, steps).tolist())
    row = make_row(latents, steps, shift, scale)
    for time in scheduler.timesteps:
        ratio = (time / 1000).view(1, 1)
        predicted = FakeNet()(latents, ratio, [row.cond])
        if row.uncond is not None:
            predicted = torch.lerp(FakeNet()(latents, ratio, [row.uncond]), predicted, scale)
        latents = scheduler.step(predicted, time, latents).prev_sample
    return latents


@pytest.mark.parametrize(
    ("steps", "shift", "scale"), [(1, 1.0, 0.0), (4, 3.0, 5.3), (12, 1.5, 2.0), (50, 3.0, 1.0)]
)
def test_every_step_equals_the_stock_scheduler(steps: int, shift: float, scale: float) -> None:
    noise = torch.randn(SHAPE, generator=torch.Generator().manual_seed(3))
    row = make_row(noise, steps, shift, scale)
    while row.step < row.steps:
        advance(FakeNet(), [row])
    expected = run_stock(noise, steps, shift, scale)
    assert float((row.latents_bchw - expected).norm() / expected.norm()) < 1e-6


@pytest.mark.parametrize("start", [0.3, 0.7, 1.0])
def test_a_net_that_knows_the_way_finds_the_picture_from_every_time(start: float) -> None:
    clean, noise = torch.randn(2, *SHAPE)
    row = make_row(noise, 5, 3.0, start=start)
    row.latents_bchw = row.table.noised(clean, noise)
    while row.step < row.steps:
        advance(StraightNet(clean, noise), [row])
        assert row.last is not None
        assert torch.allclose(row.last.clean(), clean, atol=1e-5)
    assert torch.allclose(row.latents_bchw, clean, atol=1e-5)


def test_a_latent_gets_all_noise_at_the_first_time_and_none_without_steps() -> None:
    clean, noise = torch.randn(2, *SHAPE)
    whole = make_step_table(FakeNet(), FlowSchedule(3.0), 4, 1.0)
    none = make_step_table(FakeNet(), FlowSchedule(3.0), 0, 0.0)
    assert torch.equal(whole.noised(clean, noise), noise)
    assert torch.equal(none.noised(clean, noise), clean)


def test_a_shift_moves_the_steps_towards_noise_and_keeps_both_ends() -> None:
    even, shifted = FlowSchedule(1.0).times(4, 1.0), FlowSchedule(3.0).times(4, 1.0)
    assert even.tolist() == [1.0, 0.75, 0.5, 0.25, 0.0]
    assert shifted.tolist() == pytest.approx([1.0, 0.9, 0.75, 0.5, 0.0])


def test_rows_at_different_times_and_scales_step_as_if_alone() -> None:
    mixed = [(3, 0.0), (9, 4.0), (5, 1.0), (7, 6.5)]
    noises = torch.randn(len(mixed), *SHAPE, generator=torch.Generator().manual_seed(0))
    rows = [make_row(n, s, 3.0, g) for n, (s, g) in zip(noises, mixed, strict=True)]
    while running := [row for row in rows if row.step < row.steps]:
        advance(FakeNet(), running)
    for row, noise, (steps, scale) in zip(rows, noises, mixed, strict=True):
        alone = make_row(noise, steps, 3.0, scale)
        while alone.step < alone.steps:
            advance(FakeNet(), [alone])
        assert torch.equal(row.latents_bchw, alone.latents_bchw)
