"""Text that a terminal should not obey or cannot carry, in every command that prints it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from serve.settings import Settings
from serve.storage.database import Database
from serve.storage.schema.tables import api_keys
from tests.cascade_core.test_printable import STEERING
from tests.limits import HANG_S
from tests.serve.cli.cascade import Cascade
from tests.serve.cli.forking import NEXT
from tests.serve.cli.scripted_server import ScriptedService

EVIL = "a\x1b]0;pwned\x07\x1b[2J\x9b31m\u202e\u2066\u200f\u061c\rb é 👩\u200d🎨"


def check_harmless(text: str) -> None:
    """Fail if anything but line feeds could steer the terminal."""
    assert set(text) & set(STEERING) <= {"\n"}, repr(text)
    assert "pwned" in text


@pytest.fixture
def evil(service: ScriptedService, cascade: Cascade, tmp_path: Path) -> Cascade:
    """The command line after a job of a hostile prompt has failed with a hostile sentence."""
    service.job_error = {"code": "internal", "message": EVIL}
    failed = cascade("generate", EVIL, "--out", str(tmp_path))
    check_harmless(failed.stderr)
    assert failed.exit_code == 1
    return cascade


@pytest.mark.parametrize("command", [["jobs"], ["jobs", "show", "JOB0"]])
def test_a_hostile_prompt_does_not_steer_the_terminal(evil: Cascade, command: list[str]) -> None:
    check_harmless(evil(*command).stdout)
    shown = evil(*command, "--json").stdout
    check_harmless(shown)
    job = json.loads(shown)
    assert (job[0] if isinstance(job, list) else job)["request"]["prompt"] == EVIL


def test_a_hostile_server_does_not_steer_the_terminal(
    service: ScriptedService, cascade: Cascade, tmp_path: Path
) -> None:
    service.refuse = (400, {"code": "invalid_value", "message": EVIL})
    check_harmless(cascade("generate", "x", "--out", str(tmp_path)).stderr)


def test_a_hostile_warning_or_id_does_not_steer_the_terminal(
    service: ScriptedService, cascade: Cascade, tmp_path: Path
) -> None:
    service.warnings = [EVIL]
    check_harmless(cascade("generate", "x", "--out", str(tmp_path)).stderr)
    service.jobs["JOB0"]["id"] = EVIL
    check_harmless(cascade("jobs").stdout)


def test_a_hostile_reason_does_not_steer_the_doctors_terminal(
    service: ScriptedService, cascade: Cascade, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CASCADE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("CASCADE_HTTP_PORT", "0")
    service.is_ready, service.unready_reason = False, EVIL
    check_harmless(cascade("doctor").stdout)


def test_a_hostile_key_label_does_not_steer_the_terminal(
    cascade: Cascade, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CASCADE_DATA_DIR", str(tmp_path))
    database = Database(Settings(data_dir=tmp_path).database_url)
    database.create_tables()
    key, _ = database.keys.create("x", ["read"], 0)
    with database.writing() as connection:  # as an older release let it in
        connection.execute(api_keys.update().values(name=EVIL))
    database.close()
    check_harmless(cascade("keys", "list").stdout)
    check_harmless(cascade("keys", "list", "--json").stdout)
    check_harmless(cascade("keys", "revoke", key.id).stdout)


@dataclass(frozen=True)
class Ended:
    """A command line whose process has ended."""

    line: list[str]
    exit_code: int
    stdout: bytes
    stderr: bytes


def run(
    *lines: list[str], url: str, stdout: int = subprocess.PIPE, **variables: str
) -> list[Ended]:
    """Run command lines one after another, each in a process of its own, as a shell does."""
    words = [word for line in lines for word in [*line, NEXT]]
    done = subprocess.run(
        [sys.executable, "-m", "tests.serve.cli.forking", *map(os.fsencode, words)],
        env=os.environ | {"CASCADE_URL": url, "PYTHONPATH": str(Path.cwd())} | variables,
        stdout=stdout,
        stderr=subprocess.PIPE,
        check=False,
        timeout=HANG_S,
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    texts = (done.stdout or b"\0" * len(lines)).split(b"\0")[:-1]
    errors = done.stderr.split(b"\0")[:-1]
    ended = zip(lines, map(int, errors[1::2]), texts, errors[::2], strict=True)
    return [Ended(*one) for one in ended]


@pytest.mark.parametrize(
    "variables",
    [
        {"LC_ALL": "C", "TERM": "dumb"},
        {"PYTHONIOENCODING": "ascii", "NO_COLOR": "1", "COLUMNS": "20"},
    ],
    ids=["C", "ascii, narrow"],
)
def test_every_output_works_where_the_terminal_knows_few_characters(
    service: ScriptedService,
    cascade: Cascade,
    tmp_path: Path,
    variables: dict[str, str],
) -> None:
    cascade("generate", "naïve 👩\u200d🎨", "--out", str(tmp_path))
    variables["CASCADE_DATA_DIR"] = str(tmp_path / "dätä")
    out = str(tmp_path / "bïld")
    ended = run(
        ["--help"],
        ["generate", "--help"],
        ["jobs"],
        ["jobs", "--json"],
        ["jobs", "show", "JOB0"],
        ["config"],
        ["config", "--json"],
        ["keys", "create", "naïve"],
        ["keys", "list"],
        ["models"],
        ["generate", "ein rötlicher Kreis", "--out", out],
        ["generate", "ein rötlicher Kreis", "--out", out, "--json"],
        ["export", str(tmp_path / "äll.tar")],
        url=service.url,
        **variables,
    )
    for done in ended:
        assert done.exit_code == 0, (done.line, done.stderr.decode(errors="replace"))
        assert b"Traceback" not in done.stderr
        if "--json" in done.line:
            json.loads(done.stdout)


def test_arguments_that_are_no_text_are_refused_in_one_sentence(
    service: ScriptedService, tmp_path: Path
) -> None:
    ended = run(
        ["generate", "caf\udce9", "--out", str(tmp_path)],
        ["generate", "x", "--negative", "caf\udce9", "--out", str(tmp_path)],
        ["jobs", "show", "caf\udce9"],
        ["vary", "caf\udce9"],
        ["vary", "caf\udce9.png"],
        ["jobs", "--url", "http://caf\udce9"],
        ["keys", "create", "caf\udce9"],
        url=service.url,
        CASCADE_DATA_DIR=str(tmp_path / "data"),
    )
    for done in ended:
        assert done.exit_code == 2, (done.line, done.stderr)
        assert b"Traceback" not in done.stderr
        assert done.stderr.count(b"error: ") == 1, done.stderr


def test_pictures_can_be_saved_in_a_folder_whose_name_is_no_text(
    service: ScriptedService, tmp_path: Path
) -> None:
    out = os.fsdecode(bytes(tmp_path) + b"/caf\xe9 ?#%41")
    generate = ["generate", "x", "--out", out]
    first, second = run(generate, [*generate, "--json"], url=service.url)
    assert (first.exit_code, second.exit_code) == (0, 0), first.stderr + second.stderr
    assert [file for file in json.loads(second.stdout)["files"] if os.path.exists(file)]


def test_a_reader_that_leaves_is_no_traceback(
    service: ScriptedService, cascade: Cascade, tmp_path: Path
) -> None:
    cascade("generate", "x", "--out", str(tmp_path))
    read, write = os.pipe()
    os.close(read)
    lines = (["jobs"], ["jobs", "--json"], ["--help"], ["config"])
    ended = run(*lines, url=service.url, stdout=write)
    os.close(write)
    for done in ended:
        assert b"Traceback" not in done.stderr, done.stderr.decode()
        assert b"Exception" not in done.stderr, done.stderr.decode()
