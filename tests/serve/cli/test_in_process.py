"""``--local``: the demo model in this process."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from cascade_core.checkpoints.model_folders import DEMO_MODEL_DIR
from cascade_core.handoff import StageCLatent
from cascade_core.images.image_files import read_info
from serve.cli.in_process import vary_in_process
from serve.provenance.certificates import make_credentials
from serve.provenance.credentials import CredentialReader
from tests.serve.cli.cascade import Cascade

_FAST = ("--steps", "2", "--decoder-steps", "1")


@pytest.fixture(scope="module")
def local() -> Cascade:
    """The command line without any server."""
    return Cascade("http://127.0.0.1:1")


@pytest.fixture(scope="module")
def made(local: Cascade, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A finished local job."""
    return _generate(local, tmp_path_factory.mktemp("out"))


def _generate(local: Cascade, out: Path, *more: str) -> dict[str, Any]:
    arguments = ("generate", "a red circle", "--local", "--seed", "3", *_FAST, "--json")
    result = local(*arguments, *more, "--out", str(out))
    assert result.exit_code == 0, result.output
    job: dict[str, Any] = json.loads(result.stdout)
    return job


def test_a_local_job_looks_like_a_servers_job(made: dict[str, Any]) -> None:
    assert made["state"] == "succeeded"
    assert made["request"]["steps"] == 2
    assert all(made["cost"][name] > 0 for name in ("c_s", "b_s", "a_s"))
    [image], [file] = made["images"], made["files"]
    info = read_info(Path(file).read_bytes())
    assert info is not None
    assert info["latent_id"] == image["latent_id"]


def test_the_latent_is_saved_beside_the_picture(made: dict[str, Any]) -> None:
    latent = StageCLatent.decode(Path(made["files"][0]).with_suffix(".latent").read_bytes())
    assert latent.request.seed == 3


def test_the_same_seed_gives_the_same_latent(
    local: Cascade, made: dict[str, Any], tmp_path: Path
) -> None:
    again = _generate(local, tmp_path)
    first, second = (
        StageCLatent.decode(Path(job["files"][0]).with_suffix(".latent").read_bytes())
        for job in (made, again)
    )
    assert (first.latents_chw.array == second.latents_chw.array).all()


def test_pictures_are_signed_where_the_service_would_sign_them(
    local: Cascade, made: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    credentials = make_credentials()
    files = {"CERT": credentials.chain_pem, "KEY": credentials.key_pem}
    for name, pem in files.items():
        (tmp_path / name).write_text(pem, encoding="ascii")
        monkeypatch.setenv(f"CASCADE_C2PA_{name}", str(tmp_path / name))
    options = ("--decoder-steps", "1", "--json", "--out", str(tmp_path))
    result = local("vary", made["files"][0], "--local", *options)
    (file,) = json.loads(result.stdout)["files"]
    reader = CredentialReader(credentials.authority_pem)
    assert reader.read(Path(file).read_bytes(), "image/png").state == "trusted"


def test_vary_starts_from_the_latent_beside_the_picture(
    local: Cascade, made: dict[str, Any], tmp_path: Path
) -> None:
    options = ("--n", "2", "--decoder-seed", "8", "--decoder-steps", "1", "--format", "webp")
    result = local("vary", made["files"][0], "--local", *options, "--json", "--out", str(tmp_path))
    assert result.exit_code == 0, result.output
    job = json.loads(result.stdout)
    assert job["cost"]["c_s"] == 0
    assert [image["decoder_seed"] for image in job["images"]] == [8, 9]
    assert {image["latent_id"] for image in job["images"]} == {made["images"][0]["latent_id"]}
    latent_id = made["images"][0]["latent_id"]
    source = {"operation": "vary_details", "latent_id": latent_id, "strength": None}
    assert [image["derived_from"] for image in job["images"]] == [source | {"image_id": None}] * 2
    info = read_info(Path(job["files"][0]).read_bytes())
    assert info is not None
    assert info["derived_from"] == source
    assert all(Path(file).read_bytes()[8:12] == b"WEBP" for file in job["files"])


def test_a_saved_latent_is_composed_anew_and_each_picture_gets_its_own(
    made: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    body = {"kind": "vary", "strength": 0.5, "n": 2, "steps": 2, "decoder_steps": 1}
    vary_in_process(Path(made["files"][0]), body, tmp_path, as_json=True)
    job = json.loads(capsys.readouterr().out)
    assert job["cost"]["c_s"] > 0
    assert job["request"]["latent_id"] == made["images"][0]["latent_id"]
    latent_ids = [image["latent_id"] for image in job["images"]]
    assert len({*latent_ids, made["images"][0]["latent_id"]}) == 3
    assert all((tmp_path / f"{latent_id}.latent").exists() for latent_id in latent_ids)


def test_the_commands_vary_the_composition_and_draw_it_larger_in_this_process(
    local: Cascade, made: dict[str, Any], tmp_path: Path
) -> None:
    fast, to = ("--decoder-steps", "1", "--local", "--json"), ("--out", str(tmp_path))
    line = ("vary", made["files"][0], "--strength", "subtle", "--steps", "2", *fast, *to)
    result = local(*line)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["request"]["strength"] == 0.7
    result = local("decode", made["files"][0], "--size", "384x384", *fast, *to)
    assert result.exit_code == 0, result.output
    [image] = json.loads(result.stdout)["images"]
    assert (image["width"], image["height"]) == (384, 384)
    result = local("vary", made["files"][0], "--strength", "weak", *fast, *to)
    assert (result.exit_code, "one of subtle (0.7), strong (0.9)" in result.stderr) == (2, True)


def test_vary_without_a_latent_file_says_what_is_missing(local: Cascade, tmp_path: Path) -> None:
    result = local("vary", str(tmp_path / "gone.png"), "--local", "--out", str(tmp_path))
    assert result.exit_code == 2
    assert str(tmp_path / "gone.latent") in result.stderr


def test_a_side_beyond_the_models_limit_is_bad_usage(local: Cascade, tmp_path: Path) -> None:
    result = local("generate", "x", "--local", "--width", "2048", "--out", str(tmp_path))
    assert result.exit_code == 2
    assert "width" in result.stderr


def test_a_picture_file_names_the_latent_for_the_server_too(
    cascade: Cascade, service: Any, made: dict[str, Any], tmp_path: Path
) -> None:
    result = cascade("vary", made["files"][0], "--out", str(tmp_path))
    assert result.exit_code == 0, result.output
    assert service.bodies[0]["latent_id"] == made["images"][0]["latent_id"]


def test_a_picture_that_another_service_made_is_refused(cascade: Cascade, tmp_path: Path) -> None:
    stranger = tmp_path / "stranger.png"
    stranger.write_bytes(b"no picture at all")
    result = cascade("vary", str(stranger), "--out", str(tmp_path))
    assert result.exit_code == 2
    assert "stranger.png" in result.stderr


def test_folders_whose_names_mean_something_to_a_url_work(
    local: Cascade, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tmp_path / "mo?del #1%41 é&a=b"
    shutil.copytree(DEMO_MODEL_DIR, model)
    (model / "cascade.json").unlink()
    monkeypatch.setenv("CASCADE_MODEL", str(model))
    assert local("models").exit_code == 0
    job = _generate(local, tmp_path / "out?#%41 é")
    [file] = job["files"]
    info = read_info(Path(file).read_bytes())
    assert info is not None
    assert info["model"]["id"] == model.name
    varied = local("vary", file, "--local", "--decoder-steps", "1", "--out", str(tmp_path / "#"))
    assert varied.exit_code == 0, varied.output


def test_only_the_model_that_draws_needs_all_its_parts(
    local: Cascade, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    shutil.copytree(DEMO_MODEL_DIR, other, ignore=shutil.ignore_patterns("vqgan"))
    monkeypatch.setenv("CASCADE_MODELS", f"demo,{other}")
    [file] = _generate(local, tmp_path / "out")["files"]
    varied = local("vary", file, "--local", "--decoder-steps", "1", "--out", str(tmp_path / "2"))
    assert varied.exit_code == 0, varied.output


@pytest.mark.parametrize("source", ["", ".", "/", "x" * 300, "README.md"])
def test_what_is_no_latent_file_is_one_sentence(
    local: Cascade, tmp_path: Path, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "README.latent").write_bytes(b"no latent")
    result = local("vary", source, "--local", "--out", str(tmp_path / "out"))
    assert result.exit_code == 2, result.output
    assert "error: " in result.stderr
    assert result.exception is None or isinstance(result.exception, SystemExit)


@pytest.mark.parametrize("model", ["/" + "x" * 300, "~nobody-of-this-name/model", "x" * 5000])
@pytest.mark.parametrize("command", [["models"], ["generate", "x", "--local"], ["doctor"]])
def test_a_model_folder_that_cannot_be_is_one_sentence(
    local: Cascade,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    model: str,
    command: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CASCADE_MODEL", model)
    monkeypatch.setenv("CASCADE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("CASCADE_HTTP_PORT", "0")
    result = local(*command)
    assert result.exit_code == 1, result.output
    assert model[:60] in result.output
    assert isinstance(result.exception, SystemExit)
    assert local("--help").exit_code == 0
