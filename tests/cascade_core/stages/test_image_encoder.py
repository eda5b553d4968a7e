"""The encoder of pictures as a stage: from a stored upload to what Stage C starts from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from cascade_core.checkpoints.checkpoint import Checkpoint, ModelSource, open_checkpoint
from cascade_core.checkpoints.weights import Placement
from cascade_core.conditioning.image_to_latent import ImageToLatent
from cascade_core.errors import HandoffInvalid, ModelUnavailable, NonFiniteLatent
from cascade_core.handoff import EncodedImage, StageBLatent
from cascade_core.images.stored_upload import StoredUpload
from cascade_core.models.latent_encoder import LatentEncoderConfig, LatentEncoderNetwork
from cascade_core.request import GenerationRequest
from cascade_core.stages.image_encoder import ImageEncoder


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return open_checkpoint(ModelSource())


@pytest.fixture(scope="module")
def stage(checkpoint: Checkpoint) -> ImageEncoder:
    return ImageEncoder.load(checkpoint, Placement("cpu"))


def noise(height: int, width: int) -> Any:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def request(**changes: Any) -> GenerationRequest:
    values: dict[str, Any] = {"prompt": "", "width": 384, "height": 256, "seed": 0}
    return GenerationRequest(**values | {"decoder_seed": 0} | changes)


def encoded(stage: ImageEncoder, upload: StoredUpload, **changes: Any) -> EncodedImage:
    row = stage.admit(stage.make_task(upload, request(**changes)))
    assert (row.step, row.steps) == (0, 1)
    stage.advance([row])
    assert row.step == 1
    return stage.result(row)


def test_an_upload_becomes_a_latent_of_the_size_of_the_request(
    stage: ImageEncoder, checkpoint: Checkpoint
) -> None:
    pixels_hwc = noise(100, 333)

    made = encoded(stage, StoredUpload.of(pixels_hwc))

    assert made.latents_chw.dtype == "float32"
    assert made.latents_chw.shape == (16, 6, 9)
    assert made.model.fingerprint == checkpoint.fingerprint
    expected = ImageToLatent.load(checkpoint, torch.device("cpu")).encode(pixels_hwc, (6, 9))
    np.testing.assert_array_equal(made.latents_chw.array, expected.numpy())


def test_rows_of_one_step_do_not_change_each_other(stage: ImageEncoder) -> None:
    uploads = [StoredUpload.of(noise(64, 96)), StoredUpload.of(noise(64, 96) // 2)]
    rows = [stage.admit(stage.make_task(upload, request())) for upload in uploads]

    stage.advance(rows)

    assert rows[0].bucket == rows[1].bucket == (16, 6, 9)
    for row, upload in zip(rows, uploads, strict=True):
        alone = encoded(stage, upload)
        np.testing.assert_array_equal(stage.result(row).latents_chw.array, alone.latents_chw.array)


def test_its_hand_off_is_read_back_and_is_no_other_stages(stage: ImageEncoder) -> None:
    made = encoded(stage, StoredUpload.of(noise(64, 64)))

    again = EncodedImage.decode(made.encode())

    np.testing.assert_array_equal(again.latents_chw.array, made.latents_chw.array)
    with pytest.raises(HandoffInvalid):
        replace(made, request=request(width=256))
    with pytest.raises(Exception, match="expected stage_b_latent, got encoded_image"):
        StageBLatent.decode(made.encode())


def test_a_stored_upload_keeps_its_pixels() -> None:
    upload = StoredUpload.decode(StoredUpload.of(noise(50, 70)).data)

    np.testing.assert_array_equal(upload.pixels_hwc(), noise(50, 70))


def test_a_damaged_file_is_no_upload(stage: ImageEncoder) -> None:
    whole = StoredUpload.of(noise(64, 64)).data
    with pytest.raises(HandoffInvalid, match="no PNG file"):
        StoredUpload.decode(whole[1:])
    with pytest.raises(HandoffInvalid, match="damaged"):
        stage.admit(stage.make_task(StoredUpload.decode(whole[: len(whole) // 2]), request()))


def test_a_latent_that_is_not_finite_is_an_error(
    stage: ImageEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: ImageToLatent, *_args: Any) -> torch.Tensor:
        return torch.full((16, 6, 9), torch.nan)

    monkeypatch.setattr(ImageToLatent, "encode", broken)
    with pytest.raises(NonFiniteLatent, match="Stage E"):
        encoded(stage, StoredUpload.of(noise(64, 64)))


def test_an_encoder_of_another_model_is_refused(checkpoint: Checkpoint) -> None:
    encoder = ImageToLatent(LatentEncoderNetwork(LatentEncoderConfig(latent_channels=8)))
    with pytest.raises(ModelUnavailable, match="makes 8 channels, Stage C has 16"):
        ImageEncoder(checkpoint, encoder)


def test_its_warm_up_can_be_timed(stage: ImageEncoder) -> None:
    row = stage.admit(stage.warm_up())

    stage.advance([row])

    assert stage.result(row).latents_chw.shape == (16, 6, 6)
    assert stage.preview(row) is None
