"""What the family of flow-matching models offers."""

from __future__ import annotations

import pytest

from cascade_core.errors import Unsupported
from cascade_core.families.flow import DECODING, DENOISING, FLOW
from cascade_core.request import GenerationRequest

REQUEST = GenerationRequest(
    prompt="a star", width=256, height=256, seed=1, decoder_seed=1, steps=12, guidance_scale=2.0
)


def test_it_makes_and_varies_pictures_and_offers_nothing_that_needs_a_stage_of_details() -> None:
    assert {"generate", "vary", "series"} <= set(FLOW.operations)
    assert not {"vary_details", "decode"} & set(FLOW.operations)
    assert FLOW.encoder is None


@pytest.mark.parametrize("field", ["decoder_seed", "decoder_steps", "decoder_guidance_scale"])
def test_fields_of_a_stage_of_details_are_refused_by_name(field: str) -> None:
    with pytest.raises(Unsupported, match=field):
        FLOW.check_fields({field: 3})


def test_guidance_doubles_the_work_and_a_varied_latent_takes_its_part_of_the_steps() -> None:
    unguided = GenerationRequest(**{**REQUEST.to_dict(), "guidance_scale": 0.0})
    assert DENOISING.work(REQUEST) == 2 * DENOISING.work(unguided)
    varied = GenerationRequest(
        **{**REQUEST.to_dict(), "kind": "vary", "latent_id": "x", "strength": 0.5}
    )
    assert (DENOISING.steps(REQUEST), DENOISING.steps(varied)) == (12, 6)
    assert DECODING.steps(REQUEST) == 1


def test_progress_bars_and_gpus_are_shared_out_whole() -> None:
    assert sum(stage.share for stage in FLOW.stages) == pytest.approx(1)
    assert sum(stage.gpu_share for stage in FLOW.stages) <= 1
