"""``generate`` and ``vary`` against a server."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from tests.limits import HANG_S
from tests.serve.cli.cascade import Cascade
from tests.serve.cli.scripted_server import ScriptedService


def test_generate_saves_every_picture_and_prints_ids_seeds_and_seconds(
    cascade: Cascade, tmp_path: Path
) -> None:
    result = cascade("generate", "a red circle", "--n", "2", "--out", str(tmp_path))
    assert result.exit_code == 0, result.output
    assert sorted(file.name for file in tmp_path.iterdir()) == ["JOB0-0.png", "JOB0-1.png"]
    assert (tmp_path / "JOB0-0.png").read_bytes().startswith(b"\x89PNG")
    for expected in ("IMG-JOB0-1", "LAT-JOB0-1", "seed 8", "C 0.50 s, B 0.25 s, A 0.12 s"):
        assert expected in result.stdout


def test_progress_names_each_stage_and_its_steps(cascade: Cascade, tmp_path: Path) -> None:
    result = cascade("generate", "a red circle", "--n", "2", "--out", str(tmp_path))
    assert result.stderr.split("\n")[:3] == ["C composing 4/4", "B detailing 4/4", "A decoding 4/4"]


def test_a_service_that_tells_no_stages_has_its_pictures_counted(
    cascade: Cascade, service: ScriptedService, tmp_path: Path
) -> None:
    service.stages = []
    result = cascade("generate", "a red circle", "--n", "2", "--out", str(tmp_path))
    assert (result.exit_code, result.stderr) == (0, "pictures 2/2\n")
    assert "C 0.50 s, B 0.25 s, A 0.12 s" in result.stdout


def test_json_prints_the_finished_job_with_its_files_and_nothing_else(
    cascade: Cascade, tmp_path: Path
) -> None:
    result = cascade("generate", "a red circle", "--json", "--out", str(tmp_path))
    job = json.loads(result.stdout)
    assert job["state"] == "succeeded"
    assert job["files"] == [str(tmp_path / "JOB0-0.png")]
    assert result.stderr == ""


def test_options_that_are_not_given_are_left_to_the_server(
    cascade: Cascade, service: ScriptedService, tmp_path: Path
) -> None:
    cascade("generate", "a red circle", "--out", str(tmp_path))
    assert service.bodies == [{"kind": "generate", "prompt": "a red circle", "n": 1}]


def test_every_option_reaches_the_server_under_its_contract_name(
    cascade: Cascade, service: ScriptedService, tmp_path: Path
) -> None:
    options = {
        "--negative": ("negative_prompt", "blue"),
        "--width": ("width", 512),
        "--height": ("height", 256),
        "--n": ("n", 3),
        "--seed": ("seed", 0),
        "--steps": ("steps", 5),
        "--guidance": ("guidance_scale", 2.5),
        "--decoder-steps": ("decoder_steps", 4),
        "--decoder-guidance": ("decoder_guidance_scale", 1.5),
        "--decoder-seed": ("decoder_seed", 9),
        "--format": ("format", "webp"),
    }
    flags = [text for flag, (_, value) in options.items() for text in (flag, str(value))]
    cascade("generate", "a red circle", *flags, "--out", str(tmp_path))
    expected = dict(options.values()) | {"kind": "generate", "prompt": "a red circle"}
    assert service.bodies == [expected]


def test_a_refused_request_shows_the_servers_sentence_and_exits_2(
    cascade: Cascade, service: ScriptedService, tmp_path: Path
) -> None:
    service.refuse = (400, {"code": "invalid_value", "message": "width must be a multiple of 128"})
    result = cascade("generate", "a red circle", "--width", "300", "--out", str(tmp_path))
    assert result.exit_code == 2
    assert "width must be a multiple of 128" in result.stderr


def test_a_service_that_is_starting_exits_3_and_says_so(
    cascade: Cascade, service: ScriptedService, tmp_path: Path
) -> None:
    service.refuse = (503, {"code": "not_ready", "message": "stage C is starting"})
    result = cascade("generate", "a red circle", "--out", str(tmp_path))
    assert result.exit_code == 3
    assert "stage C is starting" in result.stderr


def test_a_failed_job_shows_its_reason_and_exits_1(
    cascade: Cascade, service: ScriptedService, tmp_path: Path
) -> None:
    service.job_error = {"code": "out_of_memory", "message": "the device ran out of memory"}
    result = cascade("generate", "a red circle", "--out", str(tmp_path))
    assert result.exit_code == 1
    assert "the device ran out of memory (out_of_memory)" in result.stderr


def test_no_server_exits_3_with_one_sentence_and_its_remedy(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        result = Cascade(url)("generate", "a red circle", "--out", str(tmp_path))
    assert result.exit_code == 3
    assert f"no server answers at {url}" in result.stderr
    assert "cascade up" in result.stderr
    assert "Traceback" not in result.output


def test_an_out_folder_that_cannot_be_made_is_refused_before_any_work(
    cascade: Cascade, service: ScriptedService, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    result = cascade("generate", "a red circle", "--out", str(tmp_path / "file" / "sub"))
    assert result.exit_code == 2
    assert service.bodies == []


@pytest.mark.parametrize("flag", ["--steps=0", "--n=9", "--seed=-1", "--format=bmp"])
def test_values_out_of_range_are_bad_usage(cascade: Cascade, flag: str) -> None:
    assert cascade("generate", "a red circle", flag).exit_code == 2


def test_vary_with_a_latent_id_starts_from_that_latent(
    cascade: Cascade, service: ScriptedService, tmp_path: Path
) -> None:
    result = cascade("vary", "LAT-1", "--decoder-seed", "5", "--out", str(tmp_path))
    assert result.exit_code == 0, result.output
    expected = {"kind": "vary_details", "latent_id": "LAT-1", "n": 1, "decoder_seed": 5}
    assert service.bodies == [expected]
    assert "C not run" in result.stdout


def test_vary_with_an_image_id_starts_from_the_latent_behind_it(
    cascade: Cascade, service: ScriptedService, tmp_path: Path
) -> None:
    cascade("vary", "IMG-JOB0-0", "--out", str(tmp_path))
    assert service.bodies[0]["latent_id"] == "LAT-JOB0-0"


def test_vary_of_what_is_not_there_names_it_and_all_that_it_could_be(cascade: Cascade) -> None:
    result = cascade("vary", "nosuch")
    assert result.exit_code == 2
    assert "there is no image, latent or picture file nosuch" in result.stderr
    assert "cascade jobs show" in result.stderr


def test_the_api_key_is_sent_as_bearer_token(
    cascade: Cascade, service: ScriptedService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CASCADE_API_KEY", "geheim")
    cascade("jobs", "show", "JOB0")
    assert service.authorization == "Bearer geheim"


def test_vary_refuses_a_name_that_would_change_the_path(cascade: Cascade) -> None:
    result = cascade("vary", "../jobs")
    assert result.exit_code == 2
    assert "is not an id" in result.stderr


def test_ctrl_c_cancels_the_job_and_says_so(service: ScriptedService, tmp_path: Path) -> None:
    service.hold_open = True
    command = [sys.executable, "-m", "serve.cli.main", "generate", "a red circle"]
    with subprocess.Popen(
        [*command, "--url", service.url, "--out", str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(Path.cwd())},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A run in the background of a shell ignores Ctrl-C, and its children with it.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    ) as process:
        assert service.watched.wait(HANG_S)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=HANG_S)
    assert process.returncode == 1
    assert service.jobs["JOB0"]["state"] == "cancelled"
    assert "job JOB0 was cancelled" in said


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_saved_pictures_have_the_users_own_permissions(
    cascade: Cascade, tmp_path: Path, umask: int, mode: int
) -> None:
    before = os.umask(umask)
    try:
        assert cascade("generate", "a red circle", "--out", str(tmp_path / "new")).exit_code == 0
    finally:
        os.umask(before)
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o777 & ~umask
    assert {file.stat().st_mode & 0o777 for file in (tmp_path / "new").iterdir()} == {mode}
