"""How much work each step does: a smoke run that tests every step, or the full run."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

RECIPE_DIR: Final = Path(__file__).resolve().parent
WORK_DIR: Final = RECIPE_DIR / "work"
RESULTS_DIR: Final = RECIPE_DIR / "results"
MODEL_DIR: Final = RECIPE_DIR.parent / "cascade_core" / "demo_model"
FLOW_DIR: Final = RECIPE_DIR.parent / "cascade_core" / "demo_flow"


@dataclass(frozen=True, slots=True)
class Budget:
    """One training run: it ends at `steps` or after `minutes` of wall time, whichever is first."""

    minutes: float
    steps: int
    batch: int
    learning_rate: float


@dataclass(frozen=True, slots=True)
class Scale:
    """Sizes of the data set, of every training run and of the evaluation.

    `evaluated` scenes measure each link, `composed` ones the whole cascade; `compared` scenes and
    `compared_open` open prompts compare it with the flow model.
    """

    name: str
    scenes: int
    chunk: int
    captions: int
    evaluated: int
    composed: int
    continue_c_scenes: int
    flow_scenes: int
    compared: int
    compared_open: int
    text: Budget
    stage_a: Budget
    compressor: Budget
    joint: Budget
    stage_b: Budget
    stage_c: Budget
    continue_c: Budget
    flow: Budget

    @property
    def work_dir(self) -> Path:
        """The folder of this scale's data, checkpoints and logs."""
        return WORK_DIR / self.name

    @property
    def results_dir(self) -> Path:
        """The folder of figures and contact sheets; only the full scale's is in the repository."""
        return RESULTS_DIR if self.name == "full" else self.work_dir / "results"


FULL: Final = Scale(
    name="full",
    scenes=20_000,
    chunk=1000,
    captions=30_000,
    evaluated=60,
    composed=201,
    continue_c_scenes=10_000,
    flow_scenes=5_000,
    compared=48,
    compared_open=13,
    text=Budget(minutes=10, steps=1500, batch=64, learning_rate=1.5e-3),
    stage_a=Budget(minutes=11, steps=6000, batch=12, learning_rate=2e-3),
    compressor=Budget(minutes=15, steps=6000, batch=32, learning_rate=2e-3),
    joint=Budget(minutes=76, steps=100_000, batch=10, learning_rate=1e-3),
    stage_b=Budget(minutes=86, steps=100_000, batch=10, learning_rate=1.1e-3),
    stage_c=Budget(minutes=97, steps=100_000, batch=48, learning_rate=1.4e-3),
    continue_c=Budget(minutes=600, steps=4000, batch=32, learning_rate=5e-4),
    flow=Budget(minutes=66, steps=100_000, batch=12, learning_rate=1e-3),
)
_SMOKE_BUDGET: Final = Budget(minutes=1, steps=12, batch=4, learning_rate=1e-3)
SMOKE: Final = replace(
    FULL,
    name="smoke",
    scenes=80,
    chunk=8,
    captions=500,
    evaluated=4,
    composed=4,
    continue_c_scenes=80,
    flow_scenes=80,
    compared=3,
    compared_open=6,
    text=_SMOKE_BUDGET,
    stage_a=_SMOKE_BUDGET,
    compressor=_SMOKE_BUDGET,
    joint=_SMOKE_BUDGET,
    stage_b=_SMOKE_BUDGET,
    stage_c=_SMOKE_BUDGET,
    continue_c=_SMOKE_BUDGET,
    flow=_SMOKE_BUDGET,
)
SCALES: Final = {scale.name: scale for scale in (FULL, SMOKE)}
