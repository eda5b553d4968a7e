"""The memory of Ray's head starts by its manifest's command, and ends when it is told to.

Valkey where it is installed, else Redis, which takes the same commands under another name.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.k8s.manifests import other_pods
from tests.limits import HANG_S

SERVER = next((name for name in ("valkey", "redis") if shutil.which(f"{name}-server")), None)
PASSWORD = "0123456789abcdef"

needs_server = pytest.mark.skipif(
    SERVER is None, reason="no Valkey or Redis (Debian: apt install redis-server)"
)


def container() -> dict[str, Any]:
    (redis,) = [pod for pod in other_pods("prod") if pod.labels.get("cascade/role") == "redis"]
    (only,) = redis.spec["containers"]
    found: dict[str, Any] = only
    return found


def here(text: str, folder: Path) -> str:
    """Return a line of the manifest for this machine: its server, a folder of the test's own."""
    return (
        text.replace("valkey-", f"{SERVER}-")
        .replace("/data", str(folder))
        .replace("requirepass", f"port 0\nunixsocket {folder}/socket\nrequirepass")
        .replace("-cli ", f"-cli -s {folder}/socket ")
    )


def asked(kind: str, folder: Path, password: str = PASSWORD) -> bool:
    """Run a probe as the kubelet does; a probe passes if it exits with 0."""
    command = [here(word, folder) for word in container()[kind]["exec"]["command"]]
    env = os.environ | {"REDIS_PASSWORD": password}
    return subprocess.run(command, env=env, capture_output=True, check=False).returncode == 0


@pytest.fixture
def running(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [*container()["command"], *(here(word, tmp_path) for word in container()["args"])]
    env = os.environ | {"REDIS_PASSWORD": PASSWORD}
    process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL)
    until = time.monotonic() + HANG_S
    while not asked("readinessProbe", tmp_path):
        assert process.poll() is None
        assert time.monotonic() < until, "it never got ready"
        time.sleep(0.05)  # as a kubelet does; there is no event
    yield process
    process.kill()
    process.wait()


@needs_server
def test_its_probes_pass_with_the_password_alone(
    running: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    assert asked("livenessProbe", tmp_path)
    for kind in ("readinessProbe", "livenessProbe"):
        assert not asked(kind, tmp_path, password="another")
        assert not asked(kind, tmp_path / "nowhere")


@needs_server
def test_the_containers_first_process_is_the_server_and_ends_when_told_to(
    running: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    # Process 1 of a container gets SIGTERM, and a shell there does not hear it.
    assert Path(f"/proc/{running.pid}/comm").read_text().startswith(f"{SERVER}-server")
    assert PASSWORD not in Path(f"/proc/{running.pid}/cmdline").read_text()
    running.send_signal(signal.SIGTERM)
    assert running.wait(HANG_S) == 0
    assert any((tmp_path / "appendonlydir").iterdir())


@needs_server
def test_it_refuses_writes_rather_than_forget_the_cluster(
    running: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    ask = f"{SERVER}-cli -s {tmp_path}/socket config get 'maxmemory*'"
    env = os.environ | {"REDISCLI_AUTH": PASSWORD}
    told = subprocess.run(["sh", "-c", ask], env=env, capture_output=True, text=True, check=True)
    words = told.stdout.split()
    settings = dict(zip(words[::2], words[1::2], strict=True))
    assert settings["maxmemory-policy"] == "noeviction"
    limit = container()["resources"]["limits"]["memory"]
    assert limit.endswith("Mi")
    assert 0 < int(settings["maxmemory"]) < int(limit.removesuffix("Mi")) * 2**20
