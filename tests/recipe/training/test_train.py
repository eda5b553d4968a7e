"""The training loop learns, stops at its budget and goes on where it was cut off."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from recipe.scale import Budget
from recipe.training.train import Trainer, learning_rate, load_average

BUDGET = Budget(minutes=1, steps=150, batch=4, learning_rate=0.1)


def make_problem() -> tuple[nn.Module, list[int], object]:
    """Fit y = 2x; returns the module, the steps seen and the loss."""
    torch.manual_seed(0)
    module = nn.Linear(1, 1)
    steps: list[int] = []

    def loss_of_step(step: int, _fraction: float) -> Tensor:
        steps.append(step)
        x = torch.randn(8, 1)
        return nn.functional.mse_loss(module(x), 2 * x)

    return module, steps, loss_of_step


def test_the_average_of_the_weights_learns_and_is_what_gets_loaded(tmp_path: Path) -> None:
    module, steps, loss_of_step = make_problem()
    Trainer(module, BUDGET, tmp_path / "run.pt").run(loss_of_step)  # type: ignore[arg-type]
    assert steps == list(range(150))
    loaded = nn.Linear(1, 1)
    load_average(loaded, tmp_path / "run.pt")
    assert loaded.weight.item() == pytest.approx(2, abs=0.3)
    assert not loaded.training


def test_a_cut_off_run_continues_at_its_step(tmp_path: Path) -> None:
    module, _, _ = make_problem()
    first = Trainer(module, BUDGET, tmp_path / "run.pt")
    first.progress.step = 140
    first.save()
    module, steps, loss_of_step = make_problem()
    Trainer(module, BUDGET, tmp_path / "run.pt").run(loss_of_step)  # type: ignore[arg-type]
    assert steps == list(range(140, 150))


def test_the_time_budget_ends_a_run_before_its_steps(tmp_path: Path) -> None:
    module, steps, loss_of_step = make_problem()
    trainer = Trainer(module, BUDGET, tmp_path / "run.pt")
    trainer.progress.spent_s = 60.0
    trainer.run(loss_of_step)  # type: ignore[arg-type]
    assert steps == []


def test_learning_rate_warms_up_and_cools_down() -> None:
    rates = [learning_rate(BUDGET, step, fraction) for step, fraction in ((0, 0), (99, 0), (99, 1))]
    assert rates[0] < rates[2] < rates[1] == pytest.approx(BUDGET.learning_rate)
