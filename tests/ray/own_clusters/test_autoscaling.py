"""The policy at work on real Ray: stages grow and shrink by themselves, each for its own work."""

from __future__ import annotations

import json
import subprocess
import sys
from os import environ
from pathlib import Path

import pytest

from tests.ray.client import free_port
from tests.ray.own_clusters import scaling_models
from tests.ray.own_clusters.scaling_bursts import PHASES

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def phases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, int]]:
    # Reached only if all jobs succeeded and all stages were at one replica again.
    found: dict[str, dict[str, int]] = json.loads(run("scaling_bursts", PHASES, tmp_path_factory))
    return found


def run(name: str, result: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the file that a script writes; a failure of it fails the test with its errors."""
    data_dir = tmp_path_factory.mktemp("data")
    module = f"tests.ray.own_clusters.{name}"
    done = subprocess.run(
        [sys.executable, "-m", module, str(data_dir), str(free_port())],
        cwd=ROOT,
        env=environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=880,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return (data_dir / result).read_text()


def test_a_job_wakes_the_stages_of_a_service_at_rest(phases: dict[str, dict[str, int]]) -> None:
    # What follows goes on from the first job's latent.
    assert phases["rest"] == {"c": 0, "b": 0, "a": 0}


def test_a_wave_of_variations_grows_stage_b_and_not_c(phases: dict[str, dict[str, int]]) -> None:
    assert phases["vary_details"]["b"] > 1
    assert phases["vary_details"]["c"] == 1


def test_a_burst_of_new_pictures_grows_every_stage(phases: dict[str, dict[str, int]]) -> None:
    assert phases["generate"]["c"] > 1
    assert phases["generate"]["c"] >= phases["generate"]["b"]


def test_two_models_of_different_families_scale_to_zero_and_back_each_for_its_own_jobs(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    turns = json.loads(run("scaling_models", scaling_models.PHASES, tmp_path_factory))
    flow, cascade = ["a@demo-flow", "d@demo-flow"], ["a", "b", "c"]
    # A turn ends when no stage has a replica any longer.
    assert [turn["awake"] for turn in turns] == [flow, cascade, flow]
    assert [turn["state"] for turn in turns] == ["succeeded"] * 3
