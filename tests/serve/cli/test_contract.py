"""The command line against the real gateway; only the process that runs jobs is a stand-in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from PIL import Image

from cascade_core.errors import OutOfMemory
from tests.serve.cli.cascade import Cascade
from tests.serve.fake_jobs_client import FakeJobsClient
from tests.serve.served import WITHOUT_LATENTS, serve_instead


def _generate(cascade: Cascade, out: Path, *more: str) -> dict[str, Any]:
    result = cascade("generate", "a red circle", *more, "--json", "--out", str(out))
    assert result.exit_code == 0, result.output
    job: dict[str, Any] = json.loads(result.stdout)
    return job


def test_generate_saves_the_pictures_of_the_job(
    cascade_at_gateway: Cascade, tmp_path: Path
) -> None:
    job = _generate(cascade_at_gateway, tmp_path, "--n", "2", "--format", "jpeg")
    expected = [str(tmp_path / f"{job['id']}-{index}.jpg") for index in (0, 1)]
    assert job["files"] == expected
    assert all(Path(file).read_bytes().startswith(b"\xff\xd8") for file in expected)


def test_progress_is_complete_in_the_end(cascade_at_gateway: Cascade, tmp_path: Path) -> None:
    result = cascade_at_gateway("generate", "a red circle", "--out", str(tmp_path))
    assert result.stderr.splitlines() == ["C composing 12/12", "B detailing 1/1", "A decoding 1/1"]


def test_vary_finds_the_latent_of_an_image_and_of_a_latent_id(
    cascade_at_gateway: Cascade, tmp_path: Path
) -> None:
    [image] = _generate(cascade_at_gateway, tmp_path)["images"]
    for source in (image["id"], image["latent_id"]):
        result = cascade_at_gateway("vary", source, "--json", "--out", str(tmp_path))
        assert result.exit_code == 0, result.output
        varied = json.loads(result.stdout)
        assert varied["kind"] == "vary_details"
        assert varied["images"][0]["latent_id"] == image["latent_id"]


def _job_of(cascade: Cascade, out: Path, *line: str) -> dict[str, Any]:
    result = cascade(*line, "--json", "--out", str(out))
    assert result.exit_code == 0, result.output
    job: dict[str, Any] = json.loads(result.stdout)
    return job


@pytest.mark.parametrize(("given", "strength"), [("strong", 0.9), ("0.6", 0.6)])
def test_vary_with_a_strength_composes_anew_from_the_latent(
    cascade_at_gateway: Cascade, tmp_path: Path, given: str, strength: float
) -> None:
    [image] = _generate(cascade_at_gateway, tmp_path)["images"]
    line = ("vary", image["id"], "--strength", given, "--prompt", "a blue ring", "--n", "2")
    job = _job_of(cascade_at_gateway, tmp_path, *line)
    request = job["request"]
    assert (request["kind"], request["strength"]) == ("vary", strength)
    assert (request["prompt"], request["latent_id"]) == ("a blue ring", image["latent_id"])
    assert image["latent_id"] not in {made["latent_id"] for made in job["images"]}
    assert len(job["files"]) == 2


def test_vary_with_another_prompt_alone_is_a_remix(
    cascade_at_gateway: Cascade, tmp_path: Path
) -> None:
    [image] = _generate(cascade_at_gateway, tmp_path)["images"]
    job = _job_of(cascade_at_gateway, tmp_path, "vary", image["id"], "--prompt", "a blue ring")
    assert (job["kind"], job["request"]["strength"]) == ("vary", 0.7)


def test_decode_draws_the_composition_at_another_size(
    cascade_at_gateway: Cascade, tmp_path: Path
) -> None:
    job = _generate(cascade_at_gateway, tmp_path, "--width", "256", "--height", "256")
    [image] = job["images"]
    line = ("decode", job["files"][0], "--size", "384x384", "--decoder-steps", "20")
    request = _job_of(cascade_at_gateway, tmp_path, *line)["request"]
    assert (request["kind"], request["latent_id"]) == ("decode", image["latent_id"])
    assert (request["width"], request["height"], request["decoder_steps"]) == (384, 384, 20)


def test_a_strength_that_the_model_has_no_word_for_is_refused_with_its_words(
    cascade_at_gateway: Cascade, fake_jobs: FakeJobsClient, tmp_path: Path
) -> None:
    [image] = _generate(cascade_at_gateway, tmp_path)["images"]
    result = cascade_at_gateway("vary", image["id"], "--strength", "weak", "--out", str(tmp_path))
    assert result.exit_code == 2
    assert "one of subtle (0.7), strong (0.9), got weak" in result.stderr
    assert len(fake_jobs.database.jobs.page()[0]) == 1


@pytest.mark.parametrize("strength", ["nan", "inf", "1e999"])
@pytest.mark.parametrize("line", [("vary", "ABC"), ("generate", "a star", "--image", "ABC")])
def test_a_strength_that_is_no_finite_number_is_refused_in_one_sentence(
    cascade_at_gateway: Cascade, line: tuple[str, ...], strength: str
) -> None:
    result = cascade_at_gateway(*line, "--strength", strength)
    assert result.exit_code == 2
    assert f"strength must be a number from 0 to 1 or a word, got {strength}" in result.stderr


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A picture file of another place, twice as wide as high."""
    file = tmp_path / "a photo.jpg"
    Image.new("RGB", (400, 200), (9, 99, 200)).save(file)
    return file


def test_generate_with_a_picture_file_uploads_it_and_starts_from_it(
    cascade_at_gateway: Cascade, fake_jobs: FakeJobsClient, tmp_path: Path, photo: Path
) -> None:
    line = ("generate", "a blue ring", "--image", str(photo), "--strength", "strong", "--n", "2")
    job = _job_of(cascade_at_gateway, tmp_path, *line)
    request = job["request"]
    assert (request["kind"], request["strength"]) == ("image_to_image", 0.9)
    assert request["width"] > request["height"]
    upload = fake_jobs.database.uploads.get(request["image"])
    assert upload is not None
    assert (upload.width, upload.height) == (400, 200)
    assert len(job["files"]) == 2
    assert str(photo) not in job["files"]


def test_generate_starts_from_an_upload_and_from_an_image_by_their_ids(
    cascade_at_gateway: Cascade, fake_jobs: FakeJobsClient, tmp_path: Path, photo: Path
) -> None:
    line = ("generate", "a blue ring", "--image")
    first = _job_of(cascade_at_gateway, tmp_path, *line, str(photo))
    upload_id = first["request"]["image"]
    again = _job_of(cascade_at_gateway, tmp_path, *line, upload_id, "--strength", "0.5")
    assert (again["request"]["image"], again["request"]["strength"]) == (upload_id, 0.5)
    [image] = first["images"]
    further = _job_of(cascade_at_gateway, tmp_path, *line, image["id"])["request"]
    assert (further["image"], further["latent_id"]) == (image["id"], image["latent_id"])


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("gone.png", "cannot read gone.png: No such file or directory"),
        ("no/such/file", "cannot read no/such/file: No such file or directory"),
        ("NOPE", "there is no upload, image or picture file NOPE"),
    ],
)
def test_a_picture_that_is_not_there_is_named_with_what_it_could_be(
    cascade_at_gateway: Cascade, fake_jobs: FakeJobsClient, tmp_path: Path, given: str, told: str
) -> None:
    result = cascade_at_gateway("generate", "x", "--image", given, "--out", str(tmp_path))
    assert result.exit_code == 2
    assert told in result.stderr
    assert "name a PNG, JPEG, WEBP file, or the id of an upload or image" in result.stderr
    assert fake_jobs.database.jobs.page()[0] == []


def test_a_file_that_is_too_large_or_no_picture_is_refused_by_its_name(
    cascade_at_gateway: Cascade, tmp_path: Path
) -> None:
    notes, scan = tmp_path / "notes.txt", tmp_path / "scan.png"
    notes.write_text("not a picture")
    with scan.open("wb") as file:
        file.truncate(17 * 1024 * 1024)
    for path, told in (
        (notes, "must be a sound PNG, JPEG or WebP picture"),
        (scan, "has 17.0 MiB; a picture may have at most 16 MiB"),
    ):
        result = cascade_at_gateway("generate", "x", "--image", str(path), "--out", str(tmp_path))
        assert result.exit_code == 2
        assert str(path) in result.stderr
        assert told in result.stderr


def test_a_model_that_cannot_start_from_a_picture_says_so_and_gets_none(
    cascade_at_gateway: Cascade, gateway_app: FastAPI, tmp_path: Path, photo: Path
) -> None:
    services = gateway_app.state.services
    line = ("generate", "x", "--image", str(photo), "--out", str(tmp_path))
    serve_instead(services, picture_encoder=None)
    result = cascade_at_gateway(*line)
    assert result.exit_code == 2
    assert "this model has no encoder and cannot start from a picture file" in result.stderr
    serve_instead(services, WITHOUT_LATENTS)
    result = cascade_at_gateway(*line)
    assert result.exit_code == 2
    assert "this model cannot do image_to_image; it can do generate" in result.stderr


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (("--strength", "0.5"), "add --image"),
        (("--image", "a.png", "--local"), "--image needs a service"),
        (("--image", "UPLOAD", "--strength", "weak"), "one of subtle (0.7), strong (0.9)"),
    ],
)
def test_options_of_a_start_from_a_picture_that_do_not_fit_are_bad_usage(
    cascade_at_gateway: Cascade, tmp_path: Path, line: tuple[str, ...], told: str
) -> None:
    result = cascade_at_gateway("generate", "x", *line, "--out", str(tmp_path))
    assert result.exit_code == 2
    assert told in result.stderr


def test_what_the_model_cannot_do_is_named_with_what_it_can(
    cascade_at_gateway: Cascade, gateway_app: FastAPI, tmp_path: Path
) -> None:
    serve_instead(gateway_app.state.services, WITHOUT_LATENTS)
    result = cascade_at_gateway("decode", "LAT", "--out", str(tmp_path))
    assert result.exit_code == 2
    assert "this model cannot do decode; it can do generate" in result.stderr


@pytest.mark.parametrize("size", ["384", "axb", "384x"])
def test_a_size_that_is_none_is_bad_usage(
    cascade_at_gateway: Cascade, tmp_path: Path, size: str
) -> None:
    result = cascade_at_gateway("decode", "LAT", "--size", size, "--out", str(tmp_path))
    assert result.exit_code == 2
    assert "--size must be like 384x384" in result.stderr


def test_an_unknown_source_is_named_with_all_that_it_could_be(
    cascade_at_gateway: Cascade, tmp_path: Path
) -> None:
    result = cascade_at_gateway("vary", "NOPE", "--out", str(tmp_path))
    assert result.exit_code == 2
    assert "there is no image, latent or picture file NOPE" in result.stderr


def test_a_value_the_gateway_refuses_names_the_field(
    cascade_at_gateway: Cascade, tmp_path: Path
) -> None:
    result = cascade_at_gateway("generate", "x", "--width", "300", "--out", str(tmp_path))
    assert result.exit_code == 2
    assert "width must be a multiple of 128" in result.stderr


def test_a_failed_job_shows_its_reason(
    cascade_at_gateway: Cascade, fake_jobs: FakeJobsClient, tmp_path: Path
) -> None:
    async def fail(job_id: str) -> None:
        fake_jobs.finish(job_id, "failed", OutOfMemory("the device ran out of memory"))

    fake_jobs.on_submit = fail
    result = cascade_at_gateway("generate", "x", "--out", str(tmp_path))
    assert result.exit_code == 1
    assert "the device ran out of memory (out_of_memory)" in result.stderr


def test_jobs_are_listed_shown_and_cancelled(cascade_at_gateway: Cascade, tmp_path: Path) -> None:
    job_id = str(_generate(cascade_at_gateway, tmp_path)["id"])
    assert job_id in cascade_at_gateway("jobs").stdout
    assert "succeeded" in cascade_at_gateway("jobs", "show", job_id).stdout
    result = cascade_at_gateway("jobs", "cancel", job_id)
    assert (result.exit_code, result.stdout) == (0, f"job {job_id} is succeeded\n")


def test_doctor_sees_which_stage_is_not_ready(
    cascade_at_gateway: Cascade,
    fake_jobs: FakeJobsClient,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("CASCADE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("CASCADE_HTTP_PORT", "0")
    fake_jobs.states = {"StageC": "loading weights", "Jobs": "ready"}
    found = json.loads(cascade_at_gateway("doctor", "--json").stdout)
    server = next(finding for finding in found if finding["name"] == "server")
    assert "loading weights" in server["detail"]


def test_a_draft_saves_previews_redo_adds_some_and_continue_finishes_the_chosen_pictures(
    cascade_at_gateway: Cascade, fake_jobs: FakeJobsClient, tmp_path: Path
) -> None:
    async def finish(job_id: str) -> None:
        for index in (0, 3):
            await fake_jobs.make_image(job_id, index)
        fake_jobs.finish(job_id, "succeeded")

    fake_jobs.on_submit, fake_jobs.on_continue = fake_jobs.draft, finish
    drafted = _job_of(cascade_at_gateway, tmp_path, "draft", "a red circle", "-n", "4")
    assert (drafted["state"], drafted["request"]["stop_after"]) == ("waiting", "c")
    previews = [Path(file).read_bytes() for file in drafted["files"]]
    assert [data[8:12] for data in previews] == [b"WEBP"] * 4

    fake_jobs.on_redo = fake_jobs.draft
    redone = _job_of(cascade_at_gateway, tmp_path, "redo", drafted["id"], "1", "2")
    names = [
        f"{drafted['id']}-{index}-draft{end}.webp" for index, end in enumerate(("", "-2", "-2", ""))
    ]
    assert [Path(file).name for file in redone["files"]] == names
    assert all(Path(file).exists() for file in (*drafted["files"], *redone["files"]))

    async def fail(job_id: str) -> None:
        fake_jobs.database.jobs.add_warnings(job_id, ["composing anew failed: out of memory"])
        await fake_jobs.draft(job_id)

    fake_jobs.on_redo = fail
    result = cascade_at_gateway("redo", drafted["id"], "1", "--out", str(tmp_path))
    assert "warning: composing anew failed: out of memory" in result.stderr

    line = ("continue", drafted["id"], "0", "3", "--decoder-steps", "20")
    job = _job_of(cascade_at_gateway, tmp_path, *line)
    assert job["continued"]["indices"] == [0, 3]
    assert job["continued"]["decoder_steps"] == 20
    names = [f"{drafted['id']}-{index}.png" for index in (0, 3)]
    assert [Path(file).name for file in job["files"]] == names
    again = cascade_at_gateway("continue", drafted["id"], "1", "--out", str(tmp_path))
    assert again.exit_code == 2


@pytest.mark.parametrize("command", ["redo", "continue"])
def test_ctrl_c_leaves_a_draft_that_goes_on_alone(
    cascade_at_gateway: Cascade,
    fake_jobs: FakeJobsClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    fake_jobs.on_submit = fake_jobs.draft
    drafted = _job_of(cascade_at_gateway, tmp_path, "draft", "a red circle", "-n", "2")
    monkeypatch.setattr("serve.cli.submit.follow", interrupted)
    result = cascade_at_gateway(command, drafted["id"], "0", "--out", str(tmp_path))
    assert result.exit_code != 0
    assert f"job {drafted['id']} goes on" in result.stderr
    shown = json.loads(cascade_at_gateway("jobs", "show", drafted["id"], "--json").stdout)
    assert shown["state"] == "queued"


def test_the_library_is_searched_page_by_page(
    cascade_at_gateway: Cascade, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = _generate(cascade_at_gateway, tmp_path, "--n", "3")
    ids = [image["id"] for image in reversed(job["images"])]
    shown = cascade_at_gateway("library", "search", "red", "circ*", "--limit", "2")
    assert [image_id in shown.stdout for image_id in ids] == [True, True, False]
    assert "--all" in shown.stderr
    monkeypatch.setattr("serve.cli.library._MAX_PAGE", 2)
    found = json.loads(cascade_at_gateway("library", "search", "--all", "--json").stdout)
    assert [picture["id"] for picture in found] == ids
    assert "no picture" in cascade_at_gateway("library", "search", "blue").stdout
