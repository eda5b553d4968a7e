"""What the stages' deployments add to their replicas; Ray itself is not needed for it."""

from __future__ import annotations

import os
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from cascade_core.errors import NotReady, SettingsInvalid
from cascade_core.families.stable_cascade import STABLE_CASCADE
from cascade_core.handoff import StageBLatent
from cascade_core.images.image_files import read_pixels
from cascade_core.request import GenerationRequest
from cascade_core.stages.base import Preparation
from serve.messages import ImageIds, StageMessage
from serve.provenance.watermarks import payload_of
from serve.settings import Settings
from serve.stages import deployments
from serve.stages.deployments import StageDeployment
from serve.stages.device import prepare_device
from tests.serve.null_stages import stage_b_latent
from tests.serve.provenance.watermarkers import InLowestBits
from tests.serve.served import DEMO

IDS = ImageIds(image_id="I1", latent_id="L1")


@pytest.mark.usefixtures("restored_loggers")
@pytest.mark.parametrize(("name", "setting", "rows"), [("b", 0, 4), ("a", 0, 1), ("a", 3, 3)])
def test_as_many_images_share_a_step_as_the_setting_says_or_else_the_model(
    tmp_path: Path, name: str, setting: int, rows: int
) -> None:
    settings = Settings(data_dir=tmp_path, device="cpu", max_rows=setting)
    assert StageDeployment(DEMO, name, settings).max_rows() == rows


@pytest.mark.usefixtures("restored_loggers")
async def test_stage_c_warns_of_a_prompt_that_it_cannot_read_to_the_end(tmp_path: Path) -> None:
    stage = StageDeployment(DEMO, "c", Settings(data_dir=tmp_path, device="cpu"))
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
@pytest.mark.parametrize(
    ("model", "is_own"), [(None, True), ("demo", True), ("alias", True), ("other", False)]
)
async def test_a_replica_refuses_what_is_for_another_model(
    tmp_path: Path, model: str | None, is_own: bool
) -> None:
    settings = Settings(data_dir=tmp_path, device="cpu", model_aliases="alias")
    stage = StageDeployment(DEMO, "c", settings)
    request = GenerationRequest(
        prompt="a", width=256, height=256, seed=1, decoder_seed=1, steps=1, model=model
    )
    if is_own:
        messages = [message async for message in stage.run(request.to_dict(), None, IDS)]
        assert messages[-1]["type"] == "done"
    else:
        with pytest.raises(NotReady, match="of demo, not of other"):
            await anext(stage.run(request.to_dict(), None, IDS))


@pytest.mark.usefixtures("restored_loggers")
async def test_a_replica_leaves_a_request_of_a_later_release_to_those_that_follow(
    tmp_path: Path,
) -> None:
    stage = StageDeployment(DEMO, "c", Settings(data_dir=tmp_path, device="cpu"))
    request = GenerationRequest(prompt="a", width=256, height=256, seed=1, decoder_seed=1)
    with pytest.raises(NotReady, match="earlier release"):
        await anext(stage.run(request.to_dict() | {"of_a_later_release": 1}, None, IDS))


@pytest.mark.usefixtures("restored_loggers")
async def test_previews_are_drawn_only_for_a_job_that_a_client_watches(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, device="cpu")
    request = GenerationRequest(prompt="a", width=256, height=256, seed=1, decoder_seed=1, steps=4)
    stage = StageDeployment(DEMO, "c", settings)
    previews = {}
    for is_watched in (True, False):
        messages = stage.run(request.to_dict(), None, IDS, is_watched)
        previews[is_watched] = [m["preview"] async for m in messages if m.get("preview")]
    assert (len(previews[True]), previews[False]) == (settings.previews, [])


@pytest.mark.usefixtures("restored_loggers")
def test_a_stage_prepares_what_the_settings_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared: list[Preparation] = []
    model: Any = STABLE_CASCADE.stage("a").model_class()
    monkeypatch.setattr(model, "prepare", lambda _stage, how: prepared.append(how))
    settings = Settings(
        data_dir=tmp_path, device="cpu", max_rows=3, warm_up_sizes="256x384,512x256"
    )
    StageDeployment(DEMO, "a", settings)
    assert prepared == [Preparation(((256, 384), (512, 256)), max_rows=3)]


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
@pytest.mark.usefixtures("restored_loggers")
def test_a_replica_that_finds_no_gpu_refuses_cuda_graphs(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, warm_up_sizes="256x256", cuda_graphs_gb=1)
    with pytest.raises(SettingsInvalid, match="CUDA graphs need a GPU"):
        StageDeployment(DEMO, "b", settings)


@pytest.mark.parametrize("own", ["", "/elsewhere"])
def test_what_is_compiled_stays_in_the_data_folder_unless_the_operator_names_another(
    own: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", own)
    if not own:
        monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    prepare_device(Settings(data_dir=tmp_path, device="cpu", compile=True), None)
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == (own or str(tmp_path / "compiled"))


@pytest.mark.usefixtures("restored_loggers")
async def test_a_picture_comes_with_thumbnails_and_watermark_and_without_thumbnails_that_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = StageDeployment(DEMO, "a", Settings(data_dir=tmp_path, device="cpu"))
    request = GenerationRequest(prompt="a", width=384, height=256, seed=1, decoder_seed=1)
    body = request.to_dict()
    latent = replace(StageBLatent.decode(stage_b_latent(body)), model=stage._model_ref).encode()

    async def done() -> StageMessage:
        return [message async for message in stage.run(body, latent, IDS)][-1]

    made = await done()
    sizes = {side: Image.open(BytesIO(file)).size for side, file in made["thumbnails"].items()}
    assert sizes == {256: (256, 171), 512: (384, 256)}
    assert Image.open(BytesIO(made["result"])).size == (384, 256)

    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(deployments, "encode_thumbnails", fail)
    assert "watermark" not in made
    stage._watermarker = InLowestBits()
    marked = await done()
    assert marked["watermark"] == InLowestBits.algorithm
    found = InLowestBits().detect(read_pixels(marked["result"]))
    assert found == payload_of(IDS["image_id"])
    stage._watermarker = None
    bare = await done()
    assert (bare["result"], bare["thumbnails"]) == (made["result"], {})
