"""``cascade up``: what others on the machine and its network can reach, a stop, the next start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest

from cascade_core.service_url import is_loopback
from serve.cli.ray_checks import check_ray_access, check_ray_ports, open_ports
from serve.local.private_files import is_private
from serve.local.ray_access import private_temp_dir, token_path
from serve.settings import Settings
from tests.limits import HANG_S
from tests.ray.client import ServiceClient, free_port
from tests.ray.starting import cascade_up

PROMPT = "a large green heart in the center on a white background"
_MAY_BE_OPEN = ("gcs_server", "raylet", "ray::")
"""Names of processes whose ports Ray opens on all addresses, each asking for the token."""
_ASKS_GCS = """
import sys
from ray._raylet import GcsClient
from ray.exceptions import AuthenticationError
try:
    GcsClient(address=sys.argv[1])
except AuthenticationError:
    print("refused")
"""


@dataclass
class Started:
    """A running service, where it keeps its files, and its environment."""

    command: subprocess.Popen[str]
    service: ServiceClient
    data_dir: Path
    port: int
    variables: dict[str, str]

    @property
    def process(self) -> psutil.Process:
        return psutil.Process(self.command.pid)

    def processes(self) -> list[psutil.Process]:
        return [self.process, *self.process.children(recursive=True)]

    def listening(self) -> list[tuple[str, str, int]]:
        """Return name, address and port of all that listens."""
        found = []
        for process in self.processes():
            with suppress(psutil.NoSuchProcess):
                found += [
                    (process.name(), at.laddr.ip, at.laddr.port)
                    for at in process.net_connections("inet")
                    if at.status == psutil.CONN_LISTEN
                ]
        return found


def stop(command: subprocess.Popen[str]) -> str:
    """Stop the service as Ctrl-C does; returns what it printed meanwhile."""
    command.send_signal(signal.SIGINT)
    output, _ = command.communicate(timeout=HANG_S)
    assert command.returncode == 0
    return output


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    """The service of a user without a home, with a long temp folder and proxies that are dead."""
    home = tmp_path_factory.mktemp("private")
    data_dir, long = home / "new" / "da?ta #%41 é", home / ("x" * 70)
    long.mkdir()
    port = free_port()
    variables = {
        "HOME": "/nonexistent",
        "TMPDIR": str(long),
        "RAY_AUTH_TOKEN": "another cluster's",
        **{name: "http://127.0.0.1:9" for name in ("http_proxy", "HTTP_PROXY", "HTTPS_PROXY")},
        "ALL_PROXY": "socks5://127.0.0.1:9",
    }
    before = os.umask(0o022)
    try:
        with cascade_up(data_dir, port, **variables) as (command, service):
            service.finished(service.create(prompt=PROMPT)["id"])
            yield Started(command, service, data_dir, port, variables)
    finally:
        os.umask(before)


def test_nothing_that_the_service_writes_can_be_read_by_others(
    started: Started, tmp_path: Path
) -> None:
    written = [started.data_dir, *started.data_dir.rglob("*")]
    assert [path for path in written if not is_private(path)] == []
    names = {path.suffix for path in written}
    assert {".db", ".png", ".msgpack", ".webp", ".db-wal"} <= names
    for name in ("all.tar", "all"):
        subprocess.run(
            [sys.executable, "-m", "serve.cli.main", "export", str(tmp_path / name)],
            env=os.environ | {"CASCADE_DATA_DIR": str(started.data_dir)},
            check=True,
            umask=0o022,
        )
    exported = list(tmp_path.rglob("*"))
    assert len(exported) > 5
    assert [path for path in exported if not is_private(path)] == []


def test_rays_token_and_files_are_the_users_own(started: Started) -> None:
    assert is_private(token_path(started.data_dir))
    arguments = [word for process in started.processes() for word in process.cmdline()]
    temp_dirs = [word.partition("=")[2] for word in arguments if word.startswith("--temp_dir=")]
    assert temp_dirs
    assert all(is_private(Path(folder).parent) for folder in temp_dirs)
    assert token_path(started.data_dir).read_text() not in " ".join(arguments)


def test_ray_refuses_callers_without_the_token(started: Started) -> None:
    port = next(port for name, _, port in started.listening() if name == "gcs_server")
    done = subprocess.run(
        [sys.executable, "-c", _ASKS_GCS, f"127.0.0.1:{port}"],
        env=os.environ | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "a" * 64},
        capture_output=True,
        text=True,
        check=False,
        timeout=HANG_S,
    )
    assert done.stdout == "refused\n", done.stderr


def test_no_port_runs_a_job_of_a_caller_without_the_token(started: Started) -> None:
    for _, address, port in started.listening():
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(address, address)
        with suppress(httpx.TransportError):  # most speak gRPC only
            url = f"http://{host}:{port}/api/job_agent/jobs/"
            answer = httpx.post(url, json={"entrypoint": "id"}, timeout=10, trust_env=False)
            assert answer.is_client_error, (url, answer.text)


def test_only_rays_own_processes_listen_beyond_this_machine(started: Started) -> None:
    beyond = {(name, port) for name, at, port in started.listening() if not is_loopback(at)}
    own = started.process.name()
    assert all(name.startswith(_MAY_BE_OPEN) or name == own for name, _ in beyond), beyond
    # The API, Ray's dashboard and its client for scripts.
    assert not {started.port, 8265, 10001} & {port for _, port in beyond}


def test_doctor_names_the_open_ports_and_a_token_that_others_can_read(
    started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    monkeypatch.setenv("TMPDIR", "/tmp")
    settings = Settings(data_dir=started.data_dir)
    assert check_ray_access(settings).status == "ok"
    assert check_ray_ports(settings).status == "warning"
    # Other tests' clusters have their files there too, and the finding names a few ports only.
    own = {port for _, at, port in started.listening() if not is_loopback(at)}
    assert own & set(open_ports(private_temp_dir() / "ray"))
    token_path(started.data_dir).chmod(0o644)
    try:
        assert check_ray_access(settings).status == "warning"
    finally:
        token_path(started.data_dir).chmod(0o600)


def test_ray_runs_without_its_dashboard_and_monitors(started: Started) -> None:
    names = {process.name() for process in started.process.children()}
    assert names == {"cascade-fork-se", "gcs_server", "raylet"}  # as the kernel cuts them


def test_workers_are_forked_and_start_without_the_fork_server_too(started: Started) -> None:
    by_title = {" ".join(process.cmdline()): process for process in started.processes()}
    [server] = [by_title[title] for title in by_title if title.startswith("cascade-fork-server")]
    [replica] = [by_title[title] for title in by_title if "cascade:StageC" in title]
    assert server.children()
    server.kill()
    replica.kill()
    job = started.service.finished(started.service.create(prompt=PROMPT, seed=2)["id"])
    assert job["state"] == "succeeded", job["error"]


def test_what_a_stop_interrupts_goes_on_at_the_next_start_and_a_kill_leaves_no_worker(
    started: Started,
) -> None:
    slow = {"steps": 100, "decoder_steps": 100}
    job_id = started.service.create(prompt=PROMPT, seed=1, **slow)["id"]
    started.service.until(job_id, "progress", "c")
    assert "1 job goes on at the next start" in stop(started.command)
    with cascade_up(started.data_dir, started.port, **started.variables) as (command, service):
        job = service.finished(job_id)
        assert job["state"] == "succeeded", job["error"]
        children = psutil.Process(command.pid).children(recursive=True)
        # Ray's agents look for its node only once a minute.
        ending = [process for process in children if not process.name().endswith("Agent")]
        names = " ".join(each.name() for each in ending)
        # The controller's name goes on with what it does at the moment.
        assert all(name in names for name in ("cascade-fork-se", "ray::ServeController"))
        command.kill()
        command.wait(timeout=HANG_S)
        _, left = psutil.wait_procs(ending, timeout=HANG_S)
        assert left == []
