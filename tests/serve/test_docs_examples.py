"""README's and docs' examples, copied and pasted by a stranger, against the API on a real port."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from PIL import Image

from cascade_core.checkpoints.checkpoint import Checkpoint
from serve.storage.access.credentials import KeyStore
from serve.storage.database import Database
from tests.limits import HANG_S
from tests.serve.cli.cascade import Cascade
from tests.serve.fake_jobs_client import FakeJobsClient
from tests.serve.live_server import Server

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(
    not (shutil.which("curl") and shutil.which("jq")), reason="the examples use curl and jq"
)


def examples(page: str, section: str) -> list[str]:
    """Return the indented blocks of a page's section, up to the next heading."""
    text = re.split(r"^#", (ROOT / page).read_text().split(f"# {section}\n")[1], flags=re.MULTILINE)
    blocks = re.findall(r"(?:^(?:    .*)?\n)+", text[0], flags=re.MULTILINE)
    return [re.sub(r"^    ", "", block, flags=re.MULTILINE) for block in blocks if block.strip()]


def check_pictures(folder: Path, *names: str) -> None:
    for name in names:
        assert Image.open(folder / name).format == Path(name).suffix.removeprefix(".").upper()


@pytest.fixture
def checkpoint(checkpoint: Checkpoint, tmp_path: Path) -> Checkpoint:
    """The model has a previewer, as the demo model does: drafts need one."""
    return replace(checkpoint, previewer=tmp_path / "preview.json")


@pytest.fixture
def server(
    app: FastAPI, running: FakeJobsClient, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Server]:
    monkeypatch.setattr("serve.gateway.auth.key_cache.CACHE_S", 0.0)
    with Server(app) as server:
        yield server


class Stranger:
    """Runs examples in an empty folder."""

    def __init__(self, server: Server, folder: Path, **environment: str) -> None:
        self._address = server.url.removeprefix("http://")
        self._folder = folder
        (folder / ".curlrc").write_text("fail-with-body\n")
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        more = {"CURL_HOME": str(folder), "PATH": path} | environment
        self._environment = os.environ | more

    def run(self, example: str, **names: str) -> str:
        """Run an example as it stands, but for the address and ids; returns what it prints."""
        example = re.sub(r"(localhost|127\.0\.0\.1):8000", self._address, example)
        for name, value in names.items():
            example = example.replace(name, value)
        is_python = "import " in example
        command = [sys.executable, "-c"] if is_python else ["bash", "-euo", "pipefail", "-c"]
        done = subprocess.run(
            [*command, example],
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=HANG_S,
            check=False,
        )
        assert done.returncode == 0, f"{example}\n{done.stdout}\n{done.stderr}"
        return done.stdout


def test_every_example_of_the_http_api_works_as_it_stands(server: Server, tmp_path: Path) -> None:
    stranger = Stranger(server, tmp_path)
    create, draw, job, use, python = examples("docs/http-api.md", "A job from start to end")
    stranger.run(draw)
    check_pictures(tmp_path, "picture.png")
    (tmp_path / "picture.png").unlink()
    made = json.loads(stranger.run(create))
    shown_job, image = json.loads(re.sub(r"(, )?…", "", job)), made["images"][0]
    assert shown_job.keys() == made.keys()
    assert shown_job["images"][0].keys() == image.keys()
    shown = stranger.run(use, JOB_ID=made["id"], IMAGE_ID=image["id"], LATENT_ID=image["latent_id"])
    assert "event: succeeded" in shown
    assert '"kind":"vary_details"' in shown
    stranger.run(python)
    check_pictures(tmp_path, "picture.png", "picture.webp", "1.png")


def test_every_example_of_openais_api_works_as_it_stands(server: Server, tmp_path: Path) -> None:
    stranger = Stranger(server, tmp_path)
    [openai] = examples("docs/openai.md", "From OpenAI's client")
    curl, httpx = examples("docs/openai.md", "From curl and httpx")
    assert "image_generation.completed" in stranger.run(openai)
    assert '"url":"http' in stranger.run(curl)
    stranger.run(httpx)
    check_pictures(tmp_path, "circle.png")


def test_every_example_of_readme_works_as_it_stands(server: Server, tmp_path: Path) -> None:
    stranger = Stranger(server, tmp_path)
    create, draw, python = examples("README.md", "HTTP")
    [openai] = examples("README.md", "OpenAI's client")
    assert json.loads(stranger.run(create))["state"] == "succeeded"
    stranger.run(draw)
    stranger.run(python)
    stranger.run(openai)
    check_pictures(tmp_path, "picture.png", "0.png", "1.png")


def test_every_example_of_keys_works_as_it_stands(
    server: Server, tmp_path: Path, database: Database, keys: KeyStore
) -> None:
    _, token = keys.create("me", ["read"])
    url = database._engine.url.render_as_string(hide_password=False)
    stranger = Stranger(server, tmp_path, CASCADE_API_KEY=token, CASCADE_DATABASE_URL=url)
    [example] = examples("docs/access.md", "API keys")
    assert '{"jobs":[]' in stranger.run(example)
    assert {key.name for key in keys.all()} == {"me", "ann", "chat-bot", "studio"}


def test_every_body_and_command_of_steering_works_as_it_stands(
    server: Server, fake_jobs: FakeJobsClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def begin(job_id: str) -> None:
        job = fake_jobs.database.jobs.get(job_id)
        assert job is not None
        await (fake_jobs.draft if job.request.stop_after else fake_jobs.run)(job_id)

    async def finish(job_id: str) -> None:
        for index in (1, 4):
            await fake_jobs.make_image(job_id, index)
        fake_jobs.finish(job_id, "succeeded")

    fake_jobs.on_submit, fake_jobs.on_continue = begin, finish
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (64, 64)).save("sketch.png")
    Path("colours.csv").write_text("colour\nblue\ngreen\n")
    stranger, cascade = Stranger(server, tmp_path), Cascade(server.url)
    [create] = examples("docs/steering.md", "Steering a picture")
    [upload] = examples("docs/steering.md", "A picture of your own")
    names = {
        "LATENT_ID": json.loads(stranger.run(create))["images"][0]["latent_id"],
        "UPLOAD_ID": json.loads(stranger.run(upload))["id"],
    }
    page = (ROOT / "docs" / "steering.md").read_text()
    lines = re.findall(r"^\| (?:API|command)[^|]* \| (.+) \|$", page, flags=re.MULTILINE)
    assert len(lines) == 20
    with httpx.Client(base_url=server.url, headers={"prefer": "wait=30"}) as client:
        for line in lines:
            for job in client.get("/v1/jobs", params={"state": "waiting"}).json()["jobs"]:
                names["JOB_ID"] = job["id"]
            for name, value in names.items():
                line = line.replace(name, value)
            if "{job_id}" in line:
                line, route = line.split(" with ")[1], f"/v1/jobs/{names['JOB_ID']}/continue"
            else:
                route = "/v1/jobs"
            code = line.strip("`")
            if code.startswith("cascade"):
                result = cascade(*shlex.split(code)[1:])
                assert result.exit_code == 0, f"{code}\n{result.output}"
            else:
                answer = client.post(route, json=json.loads(code))
                assert answer.status_code in (200, 202), f"{code}\n{answer.text}"
