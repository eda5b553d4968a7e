"""Commands at a service with several models: which one they name, and what they look at."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from cascade_core.checkpoints.model_folders import DEMO_MODEL_DIR
from serve.cli.suggestions import suggestions
from tests.serve.cli.cascade import Cascade
from tests.serve.cli.scripted_server import ScriptedService

_STAGES = ({"name": "d", "title": "denoising"}, {"name": "x", "title": "decoding"})


def _operation(name: str, **stop: list[str]) -> dict[str, Any]:
    fields = [
        {"name": field, "limits": {}, "words": {}, "choices": choices}
        for field, choices in stop.items()
    ]
    return {"name": name, "title": name, "stages": [], "fields": fields}


@pytest.fixture(autouse=True)
def flow(service: ScriptedService) -> dict[str, Any]:
    """A second model, with other stages, which makes new pictures and drafts."""
    operations = [_operation("generate", stop_after=["d"]), _operation("series")]
    model = {"id": "me/flow", "stages": [*_STAGES], "operations": operations}
    service.others.append(model)
    return model


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        (["generate", "a ring"], "generate"),
        (["vary", "LAT-1"], "vary_details"),
        (["decode", "LAT-1"], "decode"),
        (["series", "TABLE", "--template", "{a}"], "series"),
    ],
)
def test_a_model_is_named_in_the_job_only_if_the_user_names_one(
    cascade: Cascade, service: ScriptedService, tmp_path: Path, command: list[str], kind: str
) -> None:
    table = tmp_path / "table.csv"
    table.write_text("a\nring\n")
    arguments = [str(table) if word == "TABLE" else word for word in command]
    for more in ([], ["--model", "demo"]):
        result = cascade(*arguments, *more, "--out", str(tmp_path))
        assert result.exit_code == 0, result.output
    assert [body["kind"] for body in service.bodies] == [kind, kind]
    assert [body.get("model") for body in service.bodies] == [None, "demo"]


def test_a_draft_stops_after_the_stage_of_the_named_model(
    cascade: Cascade, service: ScriptedService, tmp_path: Path
) -> None:
    cascade("draft", "a ring", "--model", "me/flow", "--out", str(tmp_path))
    assert service.bodies[0]["stop_after"] == "d"
    assert service.bodies[0]["model"] == "me/flow"
    assert "makes no drafts" in cascade("draft", "a ring", "--out", str(tmp_path)).stderr


def test_progress_names_the_stages_of_the_jobs_own_model(
    cascade: Cascade, service: ScriptedService, flow: dict[str, Any], tmp_path: Path
) -> None:
    flow["stages"] = [stage | {"title": f"my {stage['title']}"} for stage in service.stages]
    result = cascade("generate", "a ring", "--model", "me/flow", "--out", str(tmp_path))
    assert result.stderr.splitlines() == [
        "my C composing 2/2",
        "my B detailing 2/2",
        "my A decoding 2/2",
    ]


def test_an_unknown_model_is_bad_usage_and_the_known_ones_are_named(
    cascade: Cascade, service: ScriptedService, tmp_path: Path
) -> None:
    result = cascade("draft", "a ring", "--model", "gone", "--out", str(tmp_path))
    assert result.exit_code == 2
    assert "there is no model 'gone'; the service has 'demo', 'me/flow'" in result.stderr
    assert service.bodies == []


def test_what_a_named_model_cannot_do_is_refused_before_a_job_is_made(
    cascade: Cascade, service: ScriptedService, tmp_path: Path
) -> None:
    result = cascade("vary", "LAT-1", "--model", "me/flow", "--out", str(tmp_path))
    assert result.exit_code == 2
    assert "this model cannot do vary_details; it can do generate, series" in result.stderr
    assert service.bodies == []


def test_a_picture_file_goes_to_a_named_model_with_an_encoder_alone(
    cascade: Cascade, flow: dict[str, Any], tmp_path: Path
) -> None:
    flow["operations"].append(_operation("image_to_image"))
    flow["takes_uploads"] = False
    picture = str(tmp_path / "a.png")
    result = cascade("generate", "a ring", "--image", picture, "--model", "me/flow")
    assert "has no encoder" in result.stderr


def test_local_jobs_name_the_known_models_too(cascade: Cascade, tmp_path: Path) -> None:
    arguments = ["--local", "--model", "gone", "--out", str(tmp_path)]
    result = cascade("generate", "a ring", *arguments)
    assert result.exit_code == 2
    assert "there is no such model; served here: 'demo'" in result.stderr


def test_models_shows_all_configured_ones_as_a_list(
    cascade: Cascade, environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shutil.copytree(DEMO_MODEL_DIR, tmp_path / "mine")
    environment.setenv("CASCADE_MODELS", f"demo,{tmp_path / 'mine'}")
    shown = json.loads(cascade("models", "--json").stdout)
    ids = [model["id"] for model in shown]
    assert ids[0] == "demo"
    assert len(ids) == 2
    said = cascade("models").stdout
    assert f'" --model {ids[1]}' in said
    assert '" --model demo' not in said


def test_example_prompts_are_those_of_the_first_model(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "cascade.json").write_text(json.dumps({"suggestions": ["a lone star"]}))
    environment.setenv("CASCADE_MODELS", f"{tmp_path}, demo")
    assert suggestions() == ["a lone star"]
