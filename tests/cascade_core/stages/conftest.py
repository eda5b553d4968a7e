"""A Würstchen with random weights, loaded from its folder."""

from __future__ import annotations

import pytest
import torch

from cascade_core.checkpoints.checkpoint import Checkpoint, ModelSource, open_checkpoint
from cascade_core.checkpoints.weights import Placement
from cascade_core.families.wuerstchen import WUERSTCHEN
from cascade_core.pipeline import CascadePipeline
from tests.tiny_wuerstchen import (
    TinyWuerstchen,
    build_tiny_wuerstchen,
    write_two,
)


@pytest.fixture(scope="session")
def wuerstchen() -> TinyWuerstchen:
    """Its modules, float32; do not change them."""
    torch.set_num_threads(1)
    return build_tiny_wuerstchen()


@pytest.fixture(scope="session")
def wuerstchen_checkpoint(
    wuerstchen: TinyWuerstchen, tmp_path_factory: pytest.TempPathFactory
) -> Checkpoint:
    decoder, _ = write_two(wuerstchen, tmp_path_factory.mktemp("models"))
    return open_checkpoint(ModelSource(str(decoder)))


@pytest.fixture(scope="session")
def wuerstchen_pipeline(wuerstchen_checkpoint: Checkpoint) -> CascadePipeline:
    return CascadePipeline.load(wuerstchen_checkpoint, Placement("cpu"), WUERSTCHEN)
