"""The training loop of every part: schedule, weight average, checkpoints, progress."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from recipe.scale import Budget
from recipe.training.peers import agree, average_gradients, own_number

WARM_UP_STEPS = 100
FINAL_RATE = 0.02
GRADIENT_CLIP = 1.0
AVERAGE_DECAY = 0.996
WEIGHT_DECAY = 0.01
REPORT_EVERY = 100
SAVE_EVERY = 200

LossOfStep = Callable[[int, float], Tensor]
"""(step, fraction of the budget used) -> scalar loss."""


@dataclass(slots=True)
class Progress:
    """The progress of a run; the checkpoint keeps it over a restart."""

    step: int = 0
    spent_s: float = 0.0

    def fraction(self, budget: Budget) -> float:
        """Return the part of the budget that is used, in [0, 1]."""
        return min(1.0, max(self.step / budget.steps, self.spent_s / (60 * budget.minutes)))


def learning_rate(budget: Budget, step: int, fraction: float) -> float:
    """Linear warm-up, then straight down to `FINAL_RATE` of the peak."""
    decay = FINAL_RATE + (1 - FINAL_RATE) * (1 - fraction)
    return budget.learning_rate * min(1.0, (step + 1) / WARM_UP_STEPS) * decay


class Trainer:
    """Trains a module by a loss function and keeps an average of its weights.

    The average is what a finished part uses; `weights` returns it.
    """

    def __init__(self, module: nn.Module, budget: Budget, checkpoint: Path) -> None:
        """Prepare, continuing from the checkpoint where there is one."""
        self.module = module
        self.budget = budget
        self.checkpoint = checkpoint
        self.progress = Progress()
        matrices = [p for p in module.parameters() if p.ndim > 1]
        vectors = [p for p in module.parameters() if p.ndim <= 1]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": matrices, "weight_decay": WEIGHT_DECAY},
                {"params": vectors, "weight_decay": 0.0},
            ],
            lr=budget.learning_rate,
            betas=(0.9, 0.98),
        )
        self.average = {k: v.detach().clone() for k, v in module.state_dict().items()}
        if checkpoint.exists():
            self._resume()

    def run(
        self, loss_of_step: LossOfStep, validate: Callable[[nn.Module], str] | None = None
    ) -> None:
        """Train until the budget is used, then save."""
        losses: list[float] = []
        while (fraction := agree(self.progress.fraction(self.budget))) < 1:
            started_s = time.monotonic()
            losses.append(self._update(loss_of_step, fraction))
            self.progress.step += 1
            self.progress.spent_s += time.monotonic() - started_s
            if self.progress.step % REPORT_EVERY == 0 and own_number() == 0:
                self._report(losses[-REPORT_EVERY:])
            if self.progress.step % SAVE_EVERY == 0:
                self.save()
                if validate and own_number() == 0:
                    print("   ", self._with_average(validate), flush=True)
        self.save()

    def save(self) -> None:
        """Write the checkpoint in one move, so that a crash cannot leave half a file."""
        if own_number() > 0:
            return
        state: dict[str, Any] = {
            "module": self.module.state_dict(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "step": self.progress.step,
            "spent_s": self.progress.spent_s,
        }
        self.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        partial = self.checkpoint.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(self.checkpoint)

    def _update(self, loss_of_step: LossOfStep, fraction: float) -> float:
        rate = learning_rate(self.budget, self.progress.step, fraction)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        loss = loss_of_step(self.progress.step, fraction)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        average_gradients(self.module)
        nn.utils.clip_grad_norm_(self.module.parameters(), GRADIENT_CLIP)
        self.optimizer.step()
        self._update_average()
        return float(loss.detach())

    @torch.no_grad()
    def _update_average(self) -> None:
        step = self.progress.step
        weight = 1 - min(AVERAGE_DECAY, (1 + step) / (10 + step))
        for name, value in self.module.state_dict().items():
            if value.is_floating_point():
                self.average[name].lerp_(value, weight)
            else:
                self.average[name].copy_(value)

    def _with_average(self, validate: Callable[[nn.Module], str]) -> str:
        current = {k: v.clone() for k, v in self.module.state_dict().items()}
        self.module.load_state_dict(self.average)
        with torch.no_grad(), torch.random.fork_rng():
            torch.manual_seed(5)
            summary = validate(self.module)
        self.module.load_state_dict(current)
        return summary

    def _report(self, losses: list[float]) -> None:
        done = self.progress.fraction(self.budget)
        left_min = self.progress.spent_s / 60 * (1 - done) / max(done, 1e-6)
        rate = self.progress.step / self.progress.spent_s
        print(
            f"step {self.progress.step} loss {sum(losses) / len(losses):.4f} "
            f"{rate:.2f} steps/s {done:.0%} ETA {left_min:.1f} min",
            flush=True,
        )

    def _resume(self) -> None:
        state = load_state(self.checkpoint)
        self.module.load_state_dict(state["module"])
        self.average = state["average"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.progress = Progress(state["step"], state["spent_s"])


def load_state(checkpoint: Path) -> dict[str, Any]:
    """Read a checkpoint onto torch's default device."""
    device = torch.get_default_device()
    state: dict[str, Any] = torch.load(checkpoint, weights_only=True, map_location=device)
    return state


def load_average(module: nn.Module, checkpoint: Path) -> nn.Module:
    """Put the averaged weights of a finished run into a module, ready for use."""
    module.load_state_dict(load_state(checkpoint)["average"])
    return module.eval()
