"""Restricts this machine's Ray cluster to the user that started it, by a token and a temp folder.

Ray's processes listen on all addresses, and a request with the cluster's token may run any code.
With Ray's defaults every local user can read the token and Ray's temp folder.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path

from cascade_core.errors import SettingsInvalid
from serve.local.private_files import is_private

MODE_VARIABLE = "RAY_AUTH_MODE"
_TOKEN_NAME = "ray_token"
_LONGEST_SOCKET_BYTES = 107
"""Linux's limit of the path of a socket."""
_LONGEST_BELOW = "/session_2026-01-31_12-00-00_000000_4194304/sockets/plasma_store"
_LONGEST_FOLDER_BYTES = _LONGEST_SOCKET_BYTES - len(_LONGEST_BELOW)


def check_mode(environment: Mapping[str, str]) -> None:
    """Check that the environment does not turn Ray's token off.

    Raises:
        SettingsInvalid: it does.
    """
    mode = environment.get(MODE_VARIABLE) or "token"
    if mode.lower() != "token":
        raise SettingsInvalid(
            f"{MODE_VARIABLE} is {mode!r}, which lets every client that reaches this machine run "
            "code in Ray: unset it, and the service makes its own token"
        )


def restrict(data_dir: Path) -> Path:
    """Require a token in the Ray cluster that this process starts next.

    Returns:
        Ray's temp folder; only this user can enter the folder that holds it.

    Raises:
        SettingsInvalid: the environment turns the token off, or no folder can be used for the
            token or for Ray's files.
    """
    check_mode(os.environ)
    temp_dir = private_temp_dir() / "ray"
    os.environ[MODE_VARIABLE] = "token"
    os.environ["RAY_AUTH_TOKEN_PATH"] = str(make_token(data_dir))
    os.environ.pop("RAY_AUTH_TOKEN", None)  # another cluster's, which Ray would use instead
    read_variables_again()
    return temp_dir


def token_path(data_dir: Path) -> Path:
    """Return the file of the token of the service's cluster."""
    return data_dir / _TOKEN_NAME


def make_token(data_dir: Path) -> Path:
    """Return the file with the cluster's token; a new one unless it is private and not empty.

    Raises:
        SettingsInvalid: the folder cannot be written.
    """
    path = token_path(data_dir)
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.path.lexists(path) and not (is_private(path) and path.stat().st_size):
            path.unlink()
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
    except FileExistsError:
        return path
    except OSError as error:
        message = f"{path}: Ray's token cannot be written there: {error.strerror}"
        raise SettingsInvalid(message) from error
    return path


def private_temp_dir() -> Path:
    """Return a folder below ``TMPDIR`` or ``/tmp`` that only this user can enter; makes it.

    Raises:
        SettingsInvalid: it can be made in neither, or another user has made it.
    """
    reasons = []
    for base in dict.fromkeys((Path(os.environ.get("TMPDIR") or "/tmp").absolute(), Path("/tmp"))):
        folder = base / f"cascade-{os.getuid()}"
        if len(os.fsencode(folder / "ray")) > _LONGEST_FOLDER_BYTES:
            reasons.append(f"the path {base} is too long")
            continue
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            reasons.append(f"{folder}: {error.strerror}")
            continue
        if is_private(folder):
            return folder
        reasons.append(f"{folder} belongs to another user or is open to others")
    raise SettingsInvalid(
        f"no folder can be used for Ray's files ({'; '.join(reasons)}): set TMPDIR to your own "
        "folder with a short path"
    )


def read_variables_again() -> None:
    """Let Ray read its variables and token again: it remembers them from its import."""
    if "ray" not in sys.modules:
        return
    from ray._raylet import (  # type: ignore[attr-defined]  # compiled, has no stubs
        AuthenticationTokenLoader,
        Config,
    )

    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()
