"""Shares of a GPU's memory, on a GPU that is made up."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import pytest

from serve.app import AppArgs, DeploymentArgs, build_with
from serve.settings import Settings
from serve.stages.gpu_memory import CONTEXT_BYTES, prepare_gpu_memory
from tests.serve.served import DEMO

GIB = 2**30


class Gpu:
    """Notes what is asked of it."""

    def __init__(self, total_bytes: int) -> None:
        self._total_bytes = total_bytes
        self.fractions: list[tuple[float, int | None]] = []

    def get_device_properties(self, _index: int | None) -> Any:
        return SimpleNamespace(total_memory=self._total_bytes)

    def set_per_process_memory_fraction(self, fraction: float, index: int | None) -> None:
        self.fractions.append((fraction, index))


@pytest.fixture(autouse=True)
def no_allocator_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTORCH_ALLOC_CONF", "")
    monkeypatch.delenv("PYTORCH_ALLOC_CONF")


@pytest.mark.parametrize(("device", "index"), [("cuda", None), ("cuda:1", 1)])
def test_two_stages_with_half_a_gpu_each_fit_on_it_with_their_contexts(
    device: str, index: int | None
) -> None:
    gpu = Gpu(16 * GIB)
    prepare_gpu_memory(device, 0.5, gpu)
    ((fraction, at),) = gpu.fractions
    assert at == index
    assert 2 * (fraction * 16 * GIB + CONTEXT_BYTES) == pytest.approx(16 * GIB)
    assert os.environ["PYTORCH_ALLOC_CONF"] == "expandable_segments:True"


def test_a_small_share_of_a_small_gpu_is_not_nothing() -> None:
    gpu = Gpu(2 * GIB)
    prepare_gpu_memory("cuda", 0.25, gpu)
    assert gpu.fractions == [(0.125, None)]


def test_a_stage_without_a_share_may_take_all() -> None:
    gpu = Gpu(16 * GIB)
    prepare_gpu_memory("cuda", None, gpu)
    assert gpu.fractions == []
    assert "PYTORCH_ALLOC_CONF" in os.environ


def test_nothing_is_set_on_a_cpu() -> None:
    gpu = Gpu(16 * GIB)
    prepare_gpu_memory("cpu", 0.5, gpu)
    assert gpu.fractions == []
    assert "PYTORCH_ALLOC_CONF" not in os.environ


def test_what_the_operator_says_of_the_allocator_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTORCH_ALLOC_CONF", "max_split_size_mb:128")
    prepare_gpu_memory("cuda", None, Gpu(16 * GIB))
    assert os.environ["PYTORCH_ALLOC_CONF"] == "max_split_size_mb:128"


def test_a_stage_is_told_the_share_that_its_deployment_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bound: dict[str, tuple[Any, ...]] = {}

    class Deployment:
        def __init__(self, name: str) -> None:
            self._name = name

        def bind(self, *args: Any) -> str:
            bound[self._name] = args
            return self._name

    monkeypatch.setattr("serve.app.ray_serve.deployment", lambda _, name, **__: Deployment(name))
    settings = Settings(device="cpu")
    whole, half = DeploymentArgs(num_gpus=1), DeploymentArgs(num_gpus=0.5)
    build_with(settings, AppArgs(stage_c=whole, stage_b=half), [DEMO])
    assert bound["StageC"] == (DEMO, "c", settings)
    assert bound["StageB"] == (DEMO, "b", settings, 0.5)
    assert bound["StageA"] == (DEMO, "a", settings)
