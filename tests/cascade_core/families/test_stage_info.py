"""What clients read of the stages that a service tells of."""

from __future__ import annotations

from cascade_core.families.stage_info import (
    StageInfo,
    deployment_name,
    key_of_deployment,
    stages_of,
)
from cascade_core.operations.registry import OPERATIONS, find_operation


def test_stages_are_read_with_the_fields_that_clients_know() -> None:
    told = {"name": "plan", "title": "Planning", "share": 0.25, "is_stored": True, "new": 1}
    assert stages_of({"stages": [told]}) == (
        StageInfo(
            name="plan",
            title="Planning",
            share=0.25,
            keeps_output=True,
            draws_details=True,
            scales=True,
        ),
    ), "an older service tells of Stable Cascade's stages, without what they can do"
    told |= {"draws_details": False, "scales": False}
    (stage,) = stages_of({"stages": [told]})
    assert (stage.draws_details, stage.scales) == (False, False)


def test_an_older_service_tells_of_no_stage() -> None:
    assert stages_of({"id": "demo"}) == ()


def test_the_names_of_a_stages_deployment_and_cost_follow_from_its_name() -> None:
    stage = StageInfo(name="plan", title="Planning", share=1.0)
    assert (stage.deployment, stage.cost_key) == ("StagePlan", "plan_s")


def test_stages_of_further_models_have_deployments_of_their_own() -> None:
    stage = StageInfo(name="plan", title="Planning", share=1.0, model_suffix="other")
    assert (stage.key, stage.deployment, stage.cost_key) == (
        "plan@other",
        "StagePlan@other",
        "plan_s",
    )
    for deployment in ("StagePlan", "StagePlan@other"):
        assert deployment_name(key_of_deployment(deployment) or "") == deployment
    assert [key_of_deployment(name) for name in ("Jobs", "Gateway", "stageC")] == [None] * 3


def test_a_kind_of_job_is_found_by_its_name() -> None:
    assert [find_operation(kind) for kind in OPERATIONS] == list(OPERATIONS.values())
    assert find_operation("of a later release") is None
