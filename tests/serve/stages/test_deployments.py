"""What the stages' deployments add to their replicas; Ray itself is not needed for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from cascade_core.families.stable_cascade import STABLE_CASCADE
from cascade_core.request import GenerationRequest
from serve.messages import ImageIds
from serve.settings import Settings
from serve.stages.deployments import StageDeployment

IDS = ImageIds(image_id="I1", latent_id="L1")


@pytest.mark.usefixtures("restored_loggers")
@pytest.mark.parametrize(("name", "setting", "rows"), [("b", 0, 4), ("a", 0, 1), ("a", 3, 3)])
def test_as_many_images_share_a_step_as_the_setting_says_or_else_the_model(
    tmp_path: Path, name: str, setting: int, rows: int
) -> None:
    settings = Settings(data_dir=tmp_path, device="cpu", max_rows=setting)
    assert StageDeployment(STABLE_CASCADE, name, settings).max_rows() == rows


@pytest.mark.usefixtures("restored_loggers")
async def test_stage_c_warns_of_a_prompt_that_it_cannot_read_to_the_end(tmp_path: Path) -> None:
    stage = StageDeployment(STABLE_CASCADE, "c", Settings(data_dir=tmp_path, device="cpu"))
    shown = {}
    for prompt in ("a red circle", "a red circle " * 40):
        request = GenerationRequest(
            prompt=prompt, width=256, height=256, seed=1, decoder_seed=1, steps=1
        )
        messages = stage.run(request.to_dict(), None, IDS)
        shown[prompt] = [message async for message in messages]
    short, long = shown.values()
    assert "warning" not in [message["type"] for message in short]
    assert [message["type"] for message in long[:2]] == ["started", "warning"]
    assert "tokens of the prompt are used" in long[1]["text"]
    assert short[-1]["type"] == long[-1]["type"] == "done"


@pytest.mark.usefixtures("restored_loggers")
async def test_previews_are_drawn_only_for_a_job_that_a_client_watches(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, device="cpu")
    request = GenerationRequest(prompt="a", width=256, height=256, seed=1, decoder_seed=1, steps=4)
    stage = StageDeployment(STABLE_CASCADE, "c", settings)
    previews = {}
    for is_watched in (True, False):
        messages = stage.run(request.to_dict(), None, IDS, is_watched)
        previews[is_watched] = [m["preview"] async for m in messages if m.get("preview")]
    assert (len(previews[True]), previews[False]) == (settings.previews, [])
