"""Forks Ray's workers from one process that has imported what they need.

Ray would start each worker as a new interpreter, and each would import the same libraries for
seconds and keep a copy of them. A forked worker has them at once, and shares their memory for as
long as it does not write to it.

The server imports but starts nothing: it has one thread, no connection and no CUDA context when it
forks. Without the server, workers start as Ray starts them (:mod:`serve.local.forked_worker`).
"""

from __future__ import annotations

import gc
import json
import os
import runpy
import secrets
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Final

from cascade_core.checkpoints.checkpoint import ModelSource, find_family
from cascade_core.errors import CascadeError, ModelUnavailable
from serve.local.forked_worker import ADDRESS_VARIABLE, FORKED, WORKER_MODULE
from serve.local.ray_access import read_variables_again
from serve.settings import load_settings

_ENVIRONMENT: Final = {
    # Otherwise numpy would start threads when it is imported; replicas set torch's threads.
    "OMP_NUM_THREADS": "1",
    # As Ray's workers: the title that `setproctitle` writes must not overwrite the environment.
    "SPT_NOENV": "1",
}
_WITHOUT_RAY: Final = (
    "serve.gateway.application",
    "serve.jobs.dbos_runtime",
    "serve.proxies.ray_proxy",
    "serve.stages.device",
    "serve.storage.open_stores",
)
_WITH_RAY: Final = (
    "ray.serve._private.controller",
    "ray.serve._private.proxy",
    "ray.serve._private.replica",
    "serve.app",
)
_RAYLET_VARIABLE = "RAY_RAYLET_PID"
_JOB_VARIABLE, _ANY_JOB = "RAY_JOB_ID", "ffffffff"
"""Ray reads both when it is imported: which node's processes end with it, and which job is served.
A worker of any job takes the first that it is given."""
_REQUEST_TIMEOUT_S: Final = 10.0
_CHUNK_BYTES: Final = 2**16
_OOM_SCORE = "RAY_worker_oom_score_adjustment"
_DEFAULT_OOM_SCORE = "1000"
"""Ray's own: the kernel ends a worker before the processes that keep the cluster together."""


class ForkServer:
    """The fork server of a cluster that this process starts next; it ends with this process.

    It imports for seconds. Workers that Ray starts meanwhile wait for it.

    Args:
        temp_dir: Ray's temp folder; the socket lies beside it, where only this user can enter.

    Attributes:
        temp_dir: as above.
    """

    def __init__(self, temp_dir: Path) -> None:
        self.temp_dir = temp_dir
        # Random, as containers that share the folder may have processes of the same number.
        self._address = temp_dir.parent / f"workers-{secrets.token_hex(8)}.sock"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(self._address))
            listener.listen(128)
            self._process = subprocess.Popen(
                # -P: never import from the current folder, which may hold others' files
                [sys.executable, "-P", "-m", __name__, str(listener.fileno()), str(temp_dir)],
                env=os.environ | _ENVIRONMENT,
                stdin=subprocess.PIPE,  # its end tells the server that this process has ended
                pass_fds=[listener.fileno()],
                start_new_session=True,  # Ctrl-C is for this process alone
            )
        os.environ[ADDRESS_VARIABLE] = str(self._address)

    def close(self) -> None:
        """End the server; its workers go on."""
        os.environ.pop(ADDRESS_VARIABLE, None)
        self._process.kill()
        self._process.communicate()
        self._address.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class WorkerRequest:
    """A worker that Ray starts.

    Attributes:
        arguments: of Ray's worker.
        environment: all of it.
        raylet_pid: of the process that starts the worker.
        descriptors: of standard input, output and error.
    """

    arguments: list[str]
    environment: dict[str, str]
    raylet_pid: str
    descriptors: list[int]

    def adopt(self) -> None:
        """Give this process what the worker would have had from Ray."""
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setpgid(0, 0)  # Ray ends a worker's children by its process group
        for target, source in enumerate(self.descriptors):
            os.dup2(source, target)
        os.environ.clear()
        os.environ.update(self.environment)
        score = self.environment.get(_OOM_SCORE, _DEFAULT_OOM_SCORE)
        with suppress(OSError):  # not every container may lower it; Ray starts its workers anyway
            Path("/proc/self/oom_score_adj").write_text(score, encoding="ascii")
        sys.argv = [WORKER_MODULE, *self.arguments]


def check_cuda() -> None:
    """Check in a fork that CUDA can start in it: not if the server has asked for devices.

    Raises:
        RuntimeError: it cannot.
    """
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda._is_in_bad_fork():
        raise RuntimeError("an import has started CUDA in the fork server: forks cannot use it")


class RayImports:
    """Imports Ray, and what needs it, when the first worker of a node is wanted."""

    def __init__(self, temp_dir: str) -> None:
        self._temp_dir = temp_dir
        self._raylet_pid: str | None = None

    def prepare(self, request: WorkerRequest) -> None:
        """Prepare to fork a worker.

        A worker of another node, as Ray has started its node again, starts the server anew; this
        worker is left to Ray.
        """
        if self._raylet_pid not in (None, request.raylet_pid):
            os.execv(sys.executable, sys.orig_argv)
        if self._raylet_pid is None:
            os.environ |= {_RAYLET_VARIABLE: request.raylet_pid, _JOB_VARIABLE: _ANY_JOB}
            self._import()
            self._raylet_pid = request.raylet_pid

    def _import(self) -> None:
        from ray._raylet import setproctitle  # type: ignore[attr-defined]  # compiled, no stubs

        # It finds the place of the title by the first variable, which nothing has changed yet.
        setproctitle(f"cascade-fork-server {self._temp_dir}")
        with _class_ids_of_the_system():
            for name in _WITH_RAY:
                import_module(name)
        gc.collect()
        gc.freeze()  # a collection in a worker would write to all that it shares
        threads = os.listdir("/proc/self/task")
        if len(threads) > 1:
            raise RuntimeError(f"an import has started {len(threads) - 1} threads: forks may hang")
        if _id_in_a_fork() == _id_in_a_fork():
            raise RuntimeError("an import has drawn an id of Ray: forks would draw equal ones")


@contextmanager
def _class_ids_of_the_system() -> Iterator[None]:
    """Draw the ids of actor classes, which modules of Ray declare, from the system in the block.

    Ray's generator takes its seed at the first draw, and forks go on with that one. Two tasks with
    one id end the process that runs both: Serve's controller.
    """
    from ray import actor

    class_id = actor.ActorClassID
    from_system = SimpleNamespace(from_random=lambda: class_id(os.urandom(class_id.size())))
    actor.ActorClassID = from_system
    try:
        yield
    finally:
        actor.ActorClassID = class_id


def _id_in_a_fork() -> bytes:
    """Return the first id that Ray draws in a fork of this process."""
    from ray import WorkerID

    reader, writer = os.pipe()
    if os.fork() == 0:
        os.write(writer, WorkerID.from_random().binary())
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as ids:
        return ids.read()


def main() -> None:
    """Import, then fork workers until the process that started this one ends."""
    # Ray starts its own processes so; a worker is interrupted by Ray, not by a terminal.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    listener = socket.socket(fileno=int(sys.argv[1]))
    for name in _WITHOUT_RAY:
        import_module(name)
    with suppress(CascadeError):  # the process that started this one reports it
        for source in load_settings().model_sources():
            _import_stages(source)
    address = Path(listener.getsockname())
    if next_worker(listener, RayImports(sys.argv[2]).prepare):
        read_variables_again()
        runpy.run_module(WORKER_MODULE, run_name="__main__", alter_sys=True)
    else:
        address.unlink(missing_ok=True)  # the process that started this one may have been killed


def _import_stages(source: ModelSource) -> None:
    """Import a model's stages, unless its files are still to be fetched: workers do not wait."""
    with suppress(ModelUnavailable):
        for stage in find_family(source, cached_only=True).stages:
            stage.model_class()


def next_worker(listener: socket.socket, prepare: Callable[[WorkerRequest], None]) -> bool:
    """Fork for each request; returns True in the worker, and False in the server at its end.

    The server ends when its standard input does. A launcher that closes its connection before the
    worker has told it that it runs gets none, and one that is told nothing starts Ray's own.

    Args:
        listener: where requests come.
        prepare: called before each fork.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no worker remains as a zombie
    stdin = sys.stdin.fileno()
    while stdin not in select.select([listener, stdin], [], [])[0]:
        connection, _ = listener.accept()
        with connection, ExitStack() as copies:
            request = _received(connection, copies)
            if request is not None:
                prepare(request)
                if _is_fork():
                    listener.close()
                    request.adopt()
                    check_cuda()
                    connection.sendall(FORKED)
                    return True
    return False


def _received(connection: socket.socket, copies: ExitStack) -> WorkerRequest | None:
    """Return what a launcher asks for, unless it broke off; `copies` closes the descriptors."""
    try:
        connection.settimeout(_REQUEST_TIMEOUT_S)
        data, descriptors, _, _ = socket.recv_fds(connection, _CHUNK_BYTES, 3)
        for descriptor in descriptors:
            copies.callback(os.close, descriptor)
            os.set_inheritable(descriptor, False)
        while more := connection.recv(_CHUNK_BYTES):
            data += more
        fields = json.loads(data)
        raylet_pid = fields["environment"][_RAYLET_VARIABLE]
        return WorkerRequest(**fields, raylet_pid=raylet_pid, descriptors=descriptors)
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _is_fork() -> bool:
    """Fork; returns True in the fork. False in the server, also if there can be no process more."""
    try:
        return os.fork() == 0
    except OSError:
        return False


if __name__ == "__main__":
    main()
