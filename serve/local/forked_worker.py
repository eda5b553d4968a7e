"""What Ray starts as a worker: it asks the fork server for the worker, and ends.

Ray runs this file with the arguments of its own ``default_worker.py``. Unless a forked worker says
that it runs, this process becomes that worker, as Ray would have started it. It imports little: it
runs once for each worker.
"""

from __future__ import annotations

import json
import os
import select
import socket
import sys
from importlib.util import find_spec

ADDRESS_VARIABLE = "WORKER_FORK_SERVER"
"""Names the fork server's socket."""
FORKED = b"forked"
"""The forked worker's answer."""
LIMIT_S = 40.0
"""The fork server may import for so long before it forks; of the 60 s that Ray gives a worker to
register, the others are left to Ray's own start."""
WORKER_MODULE = "ray._private.workers.default_worker"
"""Ray's own worker."""


def main() -> None:
    """Have the worker forked, or become it."""
    if _is_forked():
        return
    ray = find_spec("ray")
    if ray is None or ray.origin is None:
        raise SystemExit("ray is not installed")
    path = os.path.join(os.path.dirname(ray.origin), *WORKER_MODULE.split(".")[1:]) + ".py"
    os.execv(sys.executable, [sys.executable, path, *sys.argv[1:]])


def _is_forked() -> bool:
    """Ask for a worker with this process's arguments, environment and standard streams."""
    request = json.dumps({"arguments": sys.argv[1:], "environment": dict(os.environ)}).encode()
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(LIMIT_S)
            connection.connect(os.environ[ADDRESS_VARIABLE])
            sent = socket.send_fds(connection, [request], [0, 1, 2])
            connection.sendall(request[sent:])
            connection.shutdown(socket.SHUT_WR)
            select.select([connection], [], [], LIMIT_S)
            # From here on no worker can answer, and ends; one that has answered before runs.
            connection.shutdown(socket.SHUT_RD)
            return connection.recv(len(FORKED)) == FORKED
    except (KeyError, OSError):
        return False


if __name__ == "__main__":
    main()
