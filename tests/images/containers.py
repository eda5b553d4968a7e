"""Containers of the project's images: by docker or podman, else by buildah's files and this kernel.

They are confined as the compose file says, but share this machine's network.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import IO, Any

from tests.k8s.compose import COMPOSE

HERE = Path(__file__).parent
SHM_BYTES = 2**30


@cache
def engine() -> str:
    """Return ``docker``, ``podman`` or ``buildah``, the first that works here.

    Raises:
        RuntimeError: there is none.
    """
    for name in ("docker", "podman"):
        if shutil.which(name) and _succeeds(name, "info"):
            return name
    if shutil.which("buildah"):
        return "buildah"
    raise RuntimeError("docker, podman or buildah is needed")


@dataclass(frozen=True, slots=True)
class Confinement:
    """Where a container may write.

    Attributes:
        volumes: folders or files here by their place in the container.
        tmpfs: folders that are memory.
    """

    volumes: Mapping[str, Path] = field(default_factory=dict)
    tmpfs: tuple[str, ...] = ()


def as_in_compose(service: str, folder: Path) -> Confinement:
    """Return what compose.yaml gives a service, its volumes as new folders below ``folder``."""
    told = COMPOSE["services"][service]
    assert told["read_only"] is True
    assert told["cap_drop"] == ["ALL"]
    volumes = {}
    for volume in told.get("volumes", []):
        name, _, target = volume.partition(":")
        volumes[target] = folder / name
        volumes[target].mkdir()
    return Confinement(volumes, tuple(mount.partition(":")[0] for mount in told["tmpfs"]))


class Container:
    """A running container; its output goes to a file.

    Args:
        image: name and tag.
        arguments: of the image's entry point, or the command if ``entrypoint`` is ``False``.
        env: variables besides the image's own.
    """

    def __init__(
        self,
        image: str,
        *arguments: str,
        env: Mapping[str, str],
        confinement: Confinement,
        output: IO[bytes],
        entrypoint: bool = True,
    ) -> None:
        make = _of_buildah if engine() == "buildah" else _of_docker
        command, variables, self._cleanup = make(image, arguments, env, confinement, entrypoint)
        self._process = subprocess.Popen(
            command, env=os.environ | variables, stdin=subprocess.DEVNULL, stdout=output,
            stderr=subprocess.STDOUT,
        )  # fmt: skip

    @property
    def is_running(self) -> bool:
        """The container has not ended."""
        return self._process.poll() is None

    def wait(self, timeout_s: float) -> int:
        """Return the exit code."""
        return self._process.wait(timeout_s)

    def stop(self, timeout_s: float) -> int:
        """Send SIGTERM to its first process; return the exit code."""
        if self.is_running:
            os.kill(self._first_process(), signal.SIGTERM)
        return self.wait(timeout_s)

    def remove(self) -> None:
        """Kill what is left, and remove its files."""
        self._process.kill()
        self._process.wait()
        if self._cleanup:
            subprocess.run(self._cleanup, capture_output=True, check=False)

    def _first_process(self) -> int:
        """`docker run` hands the signal on; `unshare` would end without it."""
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return int(children[0]) if engine() == "buildah" and children else pid


Made = tuple[list[str], dict[str, str], list[str]]


def _of_docker(
    image: str,
    arguments: tuple[str, ...],
    env: Mapping[str, str],
    confinement: Confinement,
    entrypoint: bool,
) -> Made:
    for target in confinement.volumes.values():
        target.chmod(0o777)  # a new named volume would take the owner of the image's folder
    command, *rest = arguments if not entrypoint else ("", *arguments)
    options = [*(["--entrypoint", command] if command else [])]
    for name, value in env.items():
        options += ["--env", f"{name}={value}"]
    for target, source in confinement.volumes.items():
        options += ["--volume", f"{source}:{target}"]
    for target in confinement.tmpfs:
        options += ["--tmpfs", f"{target}:exec,mode=1777"]
    confined = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--init")
    around = ("--rm", "--network=host", f"--shm-size={SHM_BYTES}")
    return [engine(), "run", *around, *confined, *options, image, *rest], {}, []


def _of_buildah(
    image: str,
    arguments: tuple[str, ...],
    env: Mapping[str, str],
    confinement: Confinement,
    entrypoint: bool,
) -> Made:
    container = _buildah("from", "--pull-never", f"localhost/{image}")
    root = _buildah("mount", container)
    image_says: dict[str, Any] = json.loads(_buildah("inspect", container))["OCIv1"]["config"]
    user = image_says["User"]
    for source in confinement.volumes.values():
        with suppress(PermissionError):
            os.chown(source, int(user), int(user))
    variables = {
        "BINDS": " ".join(f"{source}:{target}" for target, source in confinement.volumes.items()),
        "TMPFS": " ".join(confinement.tmpfs),
    }
    assignments = [*image_says["Env"], *(f"{name}={value}" for name, value in env.items())]
    first = image_says["Entrypoint"] if entrypoint else []
    apart = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
    confined = [str(HERE / "confined.sh"), root, user, str(SHM_BYTES)]
    command = [*apart, *confined, "HOME=/home/cascade", *assignments, *first, *arguments]
    return command, variables, ["buildah", "rm", container]


def _buildah(*arguments: str) -> str:
    done = subprocess.run(["buildah", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"buildah {arguments[0]}: {done.stderr.strip()}")
    return done.stdout.strip()


def _succeeds(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
