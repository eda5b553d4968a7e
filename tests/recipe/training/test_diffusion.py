"""Our schedule is the stock scheduler's, and sampled times cover what sampling visits."""

import torch
from diffusers import DDPMWuerstchenScheduler

from recipe.training.diffusion import add_noise, alpha_bar, loss_weight, sample_times


def test_noise_is_added_as_the_stock_scheduler_adds_it() -> None:
    torch.manual_seed(0)
    clean, noise, times = torch.randn(5, 4, 8, 8), torch.randn(5, 4, 8, 8), torch.rand(5)
    expected = DDPMWuerstchenScheduler().add_noise(clean, noise, times)
    assert torch.allclose(add_noise(clean, noise, times), expected, atol=1e-5)


def test_signal_falls_from_nearly_all_to_nearly_nothing() -> None:
    signal = alpha_bar(torch.linspace(0, 1, 50))
    assert (signal.diff() <= 0).all()
    assert signal[0] > 0.999
    assert signal[-1] < 0.001


def test_sampled_times_include_exactly_one_and_stay_in_range() -> None:
    torch.manual_seed(0)
    times = sample_times(4000, (0.7, 1.0))
    assert times.max() == 1
    assert times.min() > 0
    assert 0.05 < (times == 1).float().mean() < 0.12
    assert (times > 0.7).float().mean() > 0.4


def test_early_sampling_steps_weigh_more() -> None:
    weights = loss_weight(torch.tensor([0.1, 0.5, 0.9, 1.0]))
    assert (weights.diff() > 0).all()
