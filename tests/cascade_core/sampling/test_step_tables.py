"""The schedule and the tables of steps, against diffusers' scheduler."""

from __future__ import annotations

import pytest
import torch
from diffusers import DDPMWuerstchenScheduler

from cascade_core.sampling.step_tables import (
    MAX_STEP_TABLES,
    CosineSchedule,
    StepTables,
    make_step_table,
)
from tests.cascade_core.sampling.test_sampler import SHAPE, FakeUnet


def test_times_fall_evenly_from_one() -> None:
    table = make_step_table(FakeUnet(), CosineSchedule(), 4)
    assert table.times_st[:, 0].tolist() == [1.0, 0.75, 0.5, 0.25]


def test_times_fall_evenly_from_a_start() -> None:
    table = make_step_table(FakeUnet(), CosineSchedule(), 3, 0.75)
    assert table.times_st[:, 0].tolist() == [0.75, 0.5, 0.25]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("start", [0.13, 0.7, 0.9])
def test_a_latent_gets_the_noise_of_the_time_that_the_unet_gets(
    start: float, dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    clean, noise = torch.randn(SHAPE).to(dtype), torch.randn(SHAPE).to(dtype)
    table = make_step_table(FakeUnet(dtype), CosineSchedule(), 5, start)
    time = table.times_st[0]

    stock = DDPMWuerstchenScheduler().add_noise(clean, noise, time)

    assert time.dtype == dtype
    assert torch.equal(table.noised(clean, noise), stock)


def test_without_steps_a_latent_gets_no_noise() -> None:
    table = make_step_table(FakeUnet(), CosineSchedule(), 0, 0.0)
    clean = torch.randn(SHAPE)
    assert torch.equal(table.noised(clean, torch.randn(SHAPE)), clean)


def test_tables_of_many_starts_are_bounded_in_number() -> None:
    tables = StepTables(FakeUnet(), CosineSchedule())
    last = [tables.of(1, 0.5 + number / 1000) for number in range(MAX_STEP_TABLES + 50)][-1]

    assert len(tables._kept) == MAX_STEP_TABLES
    assert tables.of(1, 0.5 + (MAX_STEP_TABLES + 49) / 1000) is last
    assert tables.of(1, 0.5) is not tables.of(1, 0.6)


def test_step_tables_used_last_are_kept_up_to_a_limit_of_bytes() -> None:
    a_step = make_step_table(FakeUnet(), CosineSchedule(), 1).nbytes
    tables = StepTables(FakeUnet(), CosineSchedule(), limit_bytes=10 * a_step)
    four, five = tables.of(4), tables.of(5)

    assert (tables.of(5), tables.of(4)) == (five, four)
    tables.of(6)  # leaves room for four steps, the table used last
    assert tables.of(4) is four
    assert tables.of(5) is not five


def test_a_step_table_beyond_the_limit_is_not_kept() -> None:
    tables = StepTables(FakeUnet(), CosineSchedule(), limit_bytes=1)

    assert tables.of(3) is not tables.of(3)
    assert tables.of(3).factors.shape == (3, 5)


@pytest.mark.parametrize("scaler", [0.5, 1.0, 2.0])
def test_the_schedule_follows_the_scheduler_configuration(scaler: float) -> None:
    times = torch.linspace(0, 1, 17)
    stock = DDPMWuerstchenScheduler(scaler=scaler, s=0.01)
    expected = stock._alpha_cumprod(times, torch.device("cpu"))
    assert torch.equal(CosineSchedule(0.01, scaler).alpha_bar(times), expected)
