"""Pictures that start from an upload, on the demo model, in one process."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cascade_core.checkpoints.checkpoint import ModelSource, open_checkpoint
from cascade_core.checkpoints.weights import Placement
from cascade_core.errors import Unsupported
from cascade_core.families.stable_cascade import ENCODER, STABLE_CASCADE
from cascade_core.handoff import EncodedImage, StageCLatent
from cascade_core.images.stored_upload import StoredUpload
from cascade_core.pipeline import CascadePipeline
from cascade_core.request import GenerationRequest


@pytest.fixture(scope="module")
def pipeline() -> CascadePipeline:
    return CascadePipeline.load(open_checkpoint(ModelSource()), Placement("cpu"), STABLE_CASCADE)


@pytest.fixture(scope="module")
def upload() -> StoredUpload:
    """A red disc on blue."""
    rows, columns = np.mgrid[0:256, 0:256]
    pixels_hwc = np.full((256, 256, 3), (30, 60, 220), np.uint8)
    pixels_hwc[(rows - 128) ** 2 + (columns - 128) ** 2 < 60**2] = (220, 30, 30)
    return StoredUpload.of(pixels_hwc)


def request(**changes: Any) -> GenerationRequest:
    values: dict[str, Any] = {
        "kind": "image_to_image",
        "image": "UPLOAD",
        "strength": 0.7,
        "prompt": "a large red circle in the center on a blue background",
        "width": 256,
        "height": 256,
        "seed": 3,
        "decoder_seed": 4,
        "steps": 6,
        "decoder_steps": 4,
        "guidance_scale": 2.0,
    }
    return GenerationRequest(**values | changes)


def test_the_route_of_an_upload_begins_with_the_encoder() -> None:
    from_upload, from_picture = request(), request(latent_id="LATENT")

    assert STABLE_CASCADE.route(from_upload) == (ENCODER, *STABLE_CASCADE.stages)
    assert STABLE_CASCADE.route(from_picture) == STABLE_CASCADE.stages
    composing = STABLE_CASCADE.stages[0]
    assert STABLE_CASCADE.source_class(ENCODER, from_upload) is StoredUpload
    assert STABLE_CASCADE.source_class(composing, from_upload) is EncodedImage
    assert STABLE_CASCADE.source_class(composing, from_picture) is StageCLatent
    assert STABLE_CASCADE.makes_latent(from_upload)
    assert STABLE_CASCADE.work(from_upload) > STABLE_CASCADE.work(from_picture)


@pytest.mark.parametrize(
    "changes",
    [
        {"image": None},
        {"strength": None},
        {"kind": "generate", "strength": None},
        {"kind": "vary", "latent_id": "LATENT"},
    ],
)
def test_a_request_names_an_image_if_and_only_if_its_kind_takes_one(
    changes: dict[str, Any],
) -> None:
    with pytest.raises(Unsupported):
        request(**changes)


def test_at_strength_1_nothing_of_the_upload_is_left(
    pipeline: CascadePipeline, upload: StoredUpload
) -> None:
    made = pipeline.run(request(strength=1.0), upload)
    generated = pipeline.run(request(kind="generate", image=None, strength=None))

    np.testing.assert_array_equal(made.pixels_hwc, generated.pixels_hwc)


def test_at_strength_0_the_picture_is_the_encoded_upload(
    pipeline: CascadePipeline, upload: StoredUpload
) -> None:
    made = pipeline.run(request(strength=0.0), upload)

    encoder = pipeline.stages[ENCODER.name]
    row = encoder.admit(encoder.make_task(upload, request()))
    encoder.advance([row])
    np.testing.assert_array_equal(
        made.latent.latents_chw.array, encoder.result(row).latents_chw.array
    )
    assert made.seconds.keys() == {"e", "c", "b", "a"}
    middle, corner = made.pixels_hwc[118:138, 118:138], made.pixels_hwc[:40, :40]
    assert middle[..., 0].mean() > middle[..., 2].mean() + 60
    assert corner[..., 2].mean() > corner[..., 0].mean() + 60


def test_a_stronger_change_leaves_less_of_the_upload(
    pipeline: CascadePipeline, upload: StoredUpload
) -> None:
    other = "a large yellow star in the center on a green background"
    start = pipeline.run(request(strength=0.0), upload).latent.latents_chw.array

    def distance(strength: float) -> float:
        made = pipeline.run(request(strength=strength, prompt=other), upload)
        found: float = np.abs(made.latent.latents_chw.array - start).mean()
        return found

    assert 0 == distance(0.0) < distance(0.3) < distance(0.95)


def test_a_latent_of_a_picture_starts_without_the_encoder(
    pipeline: CascadePipeline, upload: StoredUpload
) -> None:
    source = pipeline.run(request(strength=0.0), upload).latent

    made = pipeline.run(request(latent_id="LATENT"), source)

    assert made.seconds.keys() == {"c", "b", "a"}
    from_upload = pipeline.run(request(), upload)
    np.testing.assert_array_equal(made.pixels_hwc, from_upload.pixels_hwc)


def test_a_stored_request_of_an_earlier_release_is_read() -> None:
    stored = request(kind="generate", image=None, strength=None).to_dict()
    del stored["image"]

    assert GenerationRequest.from_stored(stored).image is None
    assert replace(request(), n=2).for_image(1).seed == 4
