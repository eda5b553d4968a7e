"""What the families of modular pipelines offer, as data."""

from __future__ import annotations

import pytest

from cascade_core.families.modular import (
    FLUX2_KLEIN,
    MODULAR_FAMILIES,
    SDXL,
    SDXL_REFINER,
)
from cascade_core.families.operation_info import operations_of
from cascade_core.families.registry import FAMILIES, family_of_class
from cascade_core.families.spec import Family
from cascade_core.operations.fields import DETAIL_FIELDS
from cascade_core.request import GenerationRequest

families = pytest.mark.parametrize("family", MODULAR_FAMILIES, ids=lambda family: family.name)


@families
def test_a_family_is_found_by_each_of_its_classes(family: Family) -> None:
    assert FAMILIES[family.name] is family
    assert all(family_of_class(name) is family for name in family.classes)


@families
def test_shares_of_jobs_and_of_a_gpu_are_whole(family: Family) -> None:
    assert sum(stage.share for stage in family.stages) == pytest.approx(1)
    assert sum(stage.gpu_share for stage in family.stages) == pytest.approx(1)


@families
def test_its_defaults_are_a_request_and_its_work_grows_with_its_steps(family: Family) -> None:
    told = {field.name: field.default for field in operations_of(family, family.defaults)[0].fields}
    values = {name: value for name, value in told.items() if value is not None}
    requests = [
        GenerationRequest.from_dict(
            {"prompt": "a fox", "seed": 1, "decoder_seed": 1, **values, "steps": steps}
        )
        for steps in (4, 8)
    ]

    assert family.work(requests[0]) < family.work(requests[1])


def test_only_a_family_with_a_refiner_has_details_of_its_own() -> None:
    plain = {info.name for info in operations_of(SDXL, SDXL.defaults)}
    refined = {info.name for info in operations_of(SDXL_REFINER, SDXL_REFINER.defaults)}

    assert plain == {"generate", "vary", "series", "image_to_image"}
    assert refined == {*plain, "vary_details"}
    for info in operations_of(SDXL, SDXL.defaults):
        assert not {field.name for field in info.fields} & set(DETAIL_FIELDS)


def test_a_distilled_family_offers_no_guidance() -> None:
    for info in operations_of(FLUX2_KLEIN, FLUX2_KLEIN.defaults):
        names = {field.name for field in info.fields}
        assert not names & {"negative_prompt", "guidance_scale"}
