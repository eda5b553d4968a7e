"""DBOS finds workflows by name, so an upgrade must not change a name."""

from __future__ import annotations

from dbos._dbos import _get_or_create_dbos_registry

from serve.jobs.workflow import INSTANCE_NAME, JobWorkflow

RECORDED = {
    "run": "JobWorkflow.run",
    "run_image": "JobWorkflow.run_image",
}
"""By method: the name in DBOS' tables. Open jobs of an earlier release hold these names."""


def test_workflows_are_recorded_under_the_names_that_open_jobs_hold() -> None:
    functions = {
        name: value.dbos_function_name
        for name, value in vars(JobWorkflow).items()
        if hasattr(value, "dbos_function_name")
    }
    assert functions == RECORDED


def test_the_workflow_class_and_its_instance_keep_their_recorded_names() -> None:
    assert _get_or_create_dbos_registry().class_info_map["JobWorkflow"] is JobWorkflow
    assert INSTANCE_NAME == "jobs"
