"""Tiny models, each written and loaded once for all tests of a process."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from cascade_core.checkpoints.checkpoint import Checkpoint, ModelSource, open_checkpoint
from cascade_core.checkpoints.weights import Placement
from cascade_core.families.registry import FAMILIES
from cascade_core.pipeline import CascadePipeline
from tests.cascade_core.modular.tiny_models import VARIANTS, WRITERS

CPU = Placement("cpu", "float32")


@pytest.fixture(scope="session")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    @cache
    def write(name: str) -> Path:
        folder = tmp_path_factory.mktemp("models") / f"tiny-{name}"
        (WRITERS | VARIANTS)[name](folder)
        return folder

    return write


@pytest.fixture(scope="session")
def checkpoint_of(folder_of: Callable[[str], Path]) -> Callable[[str], Checkpoint]:
    return lambda name: open_checkpoint(ModelSource(model=str(folder_of(name))))


@pytest.fixture(scope="session")
def pipeline_of(
    checkpoint_of: Callable[[str], Checkpoint],
) -> Callable[[str], CascadePipeline]:
    @cache
    def load(name: str) -> CascadePipeline:
        checkpoint = checkpoint_of(name)
        return CascadePipeline.load(checkpoint, CPU, FAMILIES[checkpoint.family])

    return load
