"""``compare`` against the real gateway, whose pictures are drawn at once."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from PIL import Image
from typer.testing import Result

from cascade_core.checkpoints.checkpoint import ModelSource, open_checkpoint
from cascade_core.families.stable_cascade import STABLE_CASCADE
from serve.cli import output
from serve.cli.comparison_drift import drift_since
from serve.cli.comparison_table import print_table
from serve.gateway.application import create_app
from serve.gateway.dependencies import Services
from serve.moderation.moderator import Moderator
from serve.served_models import Models, OpenModel
from serve.settings import Settings
from tests.serve.cli.cascade import Cascade
from tests.serve.fake_jobs_client import FakeJobsClient

TWO = ("--models", "demo,demo-flow")


@pytest.fixture
def gateway_app(running: FakeJobsClient, tmp_path: Path) -> FastAPI:
    checkpoint = open_checkpoint(ModelSource())
    other = replace(checkpoint, id="demo-flow", fingerprint="f2")
    family = STABLE_CASCADE.served_as("demo-flow")
    return create_app(
        Services(
            settings=Settings(data_dir=tmp_path / "data"),
            database=running.database,
            blobs=running.blobs,
            models=Models([OpenModel(STABLE_CASCADE, checkpoint), OpenModel(family, other)]),
            jobs=running,
            moderator=Moderator([], lambda *_: None),
        )
    )


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def compared(cascade: Cascade, out: Path, *arguments: str) -> dict[str, Any]:
    result = cascade("compare", *arguments, "--json", "--out", str(out))
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def told(cascade: Cascade, out: Path, *arguments: str) -> Result:
    return cascade("compare", *arguments, "--out", str(out))


def test_each_model_draws_the_prompt_and_all_lies_in_a_folder_with_a_sheet(
    cascade_at_gateway: Cascade, out: Path
) -> None:
    found = compared(cascade_at_gateway, out, "a red circle", *TWO, "--n", "2")
    assert [entry["model"] for entry in found["entries"]] == ["demo", "demo-flow"]
    assert [(one["entry"], len(one["files"])) for one in found["results"]] == [(0, 2), (1, 2)]
    assert len({one["seed"] for one in found["results"]}) == 1
    folder = Path(found["folder"])
    assert folder.parent == out
    for one in found["results"]:
        assert one["bytes"] == sum((folder / name).stat().st_size for name in one["files"])
    with Image.open(folder / "sheet.png") as sheet:
        assert sheet.width > 2 * 256
    stored = json.loads((folder / "result.json").read_text())
    assert stored["results"] == found["results"]


def test_the_table_has_a_row_for_each_figure_and_says_what_was_not_measured(
    cascade_at_gateway: Cascade, out: Path
) -> None:
    result = told(cascade_at_gateway, out, "a red circle", *TWO)
    assert result.exit_code == 0, result.output
    rows = {line.split("  ")[0].strip() for line in result.stdout.splitlines()}
    names = {"right", "sharpness", "diversity", "seconds", "compute s", "price", "KB"}
    assert names | {"pictures"} <= rows
    assert "no diversity: it compares the pictures of one prompt" in result.stderr
    assert "no price: the service has no CASCADE_HOUR_PRICE_*" in result.stderr


def test_four_entries_with_prices_fit_a_terminal_of_80_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = [{"steps": steps, "guidance_scale": 12.25} for steps in (8, 20, 50, 100)]
    entries = [{"model": "me/a-long-name", "settings": one} for one in settings]
    figures = {"seconds": 12.345, "compute_s": 123.456, "price": 0.000614123, "bytes": 1_234_567}
    results = [
        {
            "entry": place,
            "state": "succeeded",
            "error": None,
            "files": ["a.png"],
            "scores": [{"right": 0.123 * factor}],
            "sharpness": [1234.5 * factor],
            "diversity": 0.123 * factor,
            **{name: value * factor for name, value in figures.items()},
        }
        for place in range(4)
        for factor in (1, 3)
    ]
    monkeypatch.setattr(output, "_PIPED_WIDTH", 80)
    print_table({"entries": entries, "results": results, "n": 1, "scorer": "x"})
    shown = capsys.readouterr().out
    assert "…" not in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert "2: me/a-long-name steps=20 guidance_scale=12.25" in shown
    assert "0.00061-0.0018" in shown


def test_settings_are_compared_in_place_of_models(cascade_at_gateway: Cascade, out: Path) -> None:
    entries = ("--with", "steps=4", "--with", "model=demo-flow,steps=9,guidance_scale=2.5")
    found = compared(cascade_at_gateway, out, "a red circle", *entries, "--seed", "7")
    assert found["entries"][1]["settings"] == {"steps": 9, "guidance_scale": 2.5}
    assert [entry["model"] for entry in found["entries"]] == ["demo", "demo-flow"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "either a PROMPT or --set"),
        (("x",), "either --models or --with"),
        (("x", *TWO, "--with", "steps=2"), "either --models or --with"),
        (("x", "--with", "steps"), "is not NAME=VALUE"),
        (("x", "--with", "colour=red"), "is not NAME=VALUE with a name of model"),
        (("x", "--with", "steps=many"), "steps must be a number"),
        (("x", "--with", "guidance_scale=nan"), "guidance_scale must be a number"),
        (("--set", "nowhere.txt", *TWO), "cannot read nowhere.txt"),
        (("x", "--models", "demo,gone"), "there is no such model"),
    ],
)
def test_what_cannot_be_compared_is_bad_usage(
    cascade_at_gateway: Cascade, out: Path, arguments: tuple[str, ...], message: str
) -> None:
    result = told(cascade_at_gateway, out, *arguments)
    assert (result.exit_code, message in result.stderr) == (2, True), result.output


def test_a_second_run_of_a_set_of_prompts_shows_what_has_changed_since_the_first(
    cascade_at_gateway: Cascade, out: Path, tmp_path: Path
) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("# colours\na red circle\n\na blue star\n")
    line = ("--set", str(prompts), "--models", "demo")
    first = compared(cascade_at_gateway, out, *line)
    assert (first["prompts"], first["drift"]) == (["a red circle", "a blue star"], [])
    earlier = Path(first["folder"]).rename(out / "earlier")
    second = compared(cascade_at_gateway, out, *line)
    (drift,) = second["drift"]
    assert (drift["at"], drift["pictures"], drift["equal"]) == (first["at"], 2, 2)
    assert drift["difference"] == 0
    changed = earlier / first["results"][0]["files"][0]
    with Image.open(changed) as picture:
        Image.eval(picture, lambda value: min(value + 9, 255)).save(changed)
    (drift,) = drift_since(second, Path(second["folder"]))
    assert (drift["equal"], drift["pictures"]) == (1, 2)
    assert drift["difference"] == pytest.approx(4.5)
    for text in ("{}", "[]", "no JSON"):
        (out / "foreign").mkdir(exist_ok=True)
        (out / "foreign" / "result.json").write_text(text)
        assert len(drift_since(second, Path(second["folder"]))) == 1
    changed.write_bytes(b"no picture")
    (drift,) = drift_since(second, Path(second["folder"]))
    assert (drift["equal"], drift["pictures"], drift["difference"]) == (1, 2, 0)
    whole = json.loads((earlier / "result.json").read_text())
    for broken in ({"results": whole["results"][:1]}, {"results": [{}, {}]}, {"entries": [7]}):
        (earlier / "result.json").write_text(json.dumps(whole | broken))
        assert drift_since(second, Path(second["folder"])) == []
    assert drift_since(second | {"seed": 8}, Path(second["folder"])) == []


def test_what_was_measured_is_kept_where_a_later_prompt_fails(
    cascade_at_gateway: Cascade, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CASCADE_SCORER", "tests.serve.cli.scorers:of_circles_alone")
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a red circle\na blue star\n")
    assert told(cascade_at_gateway, out, "--set", str(prompts), "--models", "demo").exit_code == 2
    (file,) = out.glob("*/result.json")
    assert [one["prompt"] for one in json.loads(file.read_text())["results"]] == [0]


def test_a_job_that_fails_is_told_and_ends_the_command_with_1(
    cascade_at_gateway: Cascade, running: FakeJobsClient, out: Path
) -> None:
    made: list[str] = []

    async def fail_the_second(job_id: str) -> None:
        made.append(job_id)
        if len(made) == 1:
            await running.run(job_id)
        else:
            running.finish(job_id, "failed")

    running.on_submit = fail_the_second
    result = told(cascade_at_gateway, out, "a red circle", *TWO)
    assert result.exit_code == 1
    assert "1 of 2 jobs failed" in result.stderr
    assert "0 of 1" in result.stdout


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("no.such.module:score", "no.such.module:score failed: ModuleNotFoundError"),
        ("tests.serve.cli.scorers:VALUE", "is no function"),
        ("tests.serve.cli.scorers:broken", "tests.serve.cli.scorers:broken failed: KeyError"),
        ("tests.serve.cli.scorers:infinite", "answered a number that is not finite"),
        ("tests.serve.cli.scorers:text", "tests.serve.cli.scorers:text failed: ValueError"),
    ],
)
def test_a_scorer_that_does_not_work_is_named(
    cascade_at_gateway: Cascade,
    out: Path,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    message: str,
) -> None:
    monkeypatch.setenv("CASCADE_SCORER", path)
    result = told(cascade_at_gateway, out, "a red circle", *TWO)
    assert (result.exit_code, message in result.stderr) == (2, True), result.output


def test_the_figures_of_a_scorer_of_ones_own_are_shown_by_its_names(
    cascade_at_gateway: Cascade, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CASCADE_SCORER", "tests.serve.cli.scorers:width_and_words")
    found = compared(cascade_at_gateway, out, "a red circle", "--models", "demo")
    assert found["results"][0]["scores"] == [{"width": 256.0, "words": 3.0}]
