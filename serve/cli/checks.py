"""The doctor's checks; each returns one finding and never raises."""

from __future__ import annotations

import asyncio
import errno
import os
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from importlib import metadata
from pathlib import Path

import httpx

from cascade_core.checkpoints.checkpoint import open_checkpoint
from cascade_core.checkpoints.layout import ALL_COMPONENTS
from cascade_core.errors import CascadeError, SettingsInvalid
from cascade_core.service_url import http_url
from serve.cli.client import ServiceClient
from serve.cli.findings import Finding
from serve.cli.output import CliError
from serve.cli.ray_checks import check_ray_access, check_ray_ports
from serve.error_texts import first_line
from serve.local import open_files
from serve.local.private_files import is_private, private_files
from serve.local.start_marker import WAIT_FOR_START, is_starting, starting
from serve.settings import Settings, load_settings

_PYTHONS = ((3, 11), (3, 12), (3, 13))
_PORT_REMEDIES = {
    errno.EADDRINUSE: "stop what listens there, or set CASCADE_HTTP_PORT",
    errno.EADDRNOTAVAIL: "set CASCADE_HTTP_HOST to an address of this machine, such as 127.0.0.1",
    errno.EACCES: "set CASCADE_HTTP_PORT to 1024 or more",
}
_GIB = 1024**3
_DISK_WARNING_BYTES, _DISK_BROKEN_BYTES = 2 * _GIB, _GIB // 5
_SHM_WARNING_BYTES = _GIB // 4
_OWN_ANSWER_S = 2.0
_OTHER_DATABASE = "check CASCADE_DATABASE_URL"
_OTHER_STORE = "check CASCADE_BLOB_URL"


def run_checks(url: str) -> list[Finding]:
    """Return all findings; checks that need settings are left out when those are wrong."""
    findings = [check_python(), check_ray()]
    try:
        settings = load_settings()
    except CascadeError as error:
        return [*findings, Finding("settings", "broken", str(error), "correct these variables")]
    findings.append(Finding("settings", "ok", "all values are valid"))
    checks: tuple[Callable[[Settings], Finding], ...] = (
        check_gpu,
        check_model,
        check_data_dir,
        check_disk,
        check_shared_memory,
        check_open_files,
        check_database,
        check_access,
        check_moderation,
        check_blobs,
        check_ray_access,
        check_ray_ports,
    )
    with private_files():
        findings += [check(settings) for check in checks]
    server = check_server(url)
    is_served = server.status == "ok" or is_starting(_address(settings))
    return [*findings, check_port(settings, is_served=is_served), server]


def check_python(version: tuple[int, ...] = sys.version_info[:3]) -> Finding:
    """Check the interpreter's version."""
    text = ".".join(map(str, version))
    if version[:2] not in _PYTHONS:
        return Finding("python", "broken", f"{text} does not suit", "use Python 3.11, 3.12 or 3.13")
    return Finding("python", "ok", text)


def check_ray() -> Finding:
    """Check that Ray Serve can be imported, in a process that may crash over it."""
    command = [sys.executable, "-W", "ignore", "-c", "import ray.serve"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        return Finding("ray", "broken", f"{sys.executable}: {error.strerror}", "make install")
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        return Finding("ray", "broken", f"cannot be imported: {reason}", "make install")
    return Finding("ray", "ok", metadata.version("ray"))


def check_gpu(settings: Settings) -> Finding:
    """Check that the device asked for is there."""
    import torch

    if torch.cuda.is_available():
        return Finding("gpu", "ok", torch.cuda.get_device_name(0))
    if settings.device == "cuda":
        remedy = "install the CUDA build of torch and a driver, or set CASCADE_DEVICE=auto"
        return Finding("gpu", "broken", "CASCADE_DEVICE is cuda, but torch sees no GPU", remedy)
    if shutil.which("nvidia-smi"):
        remedy = "install the CUDA build of torch; check CUDA_VISIBLE_DEVICES"
        return Finding("gpu", "warning", "a driver is here, but torch sees no GPU", remedy)
    return Finding("gpu", "ok", "none; the stages run on the CPU (right for the demo model)")


def check_model(settings: Settings) -> Finding:
    """Check that every weight file is there and readable."""
    source = settings.model_source()
    if source.is_hub:
        detail = f"{source.model} is fetched from the hub when the service starts"
        return Finding("model", "ok", detail)
    try:
        checkpoint = open_checkpoint(source)
        parts = [name for name in ALL_COMPONENTS if name != "tokenizer"]
        files = [file for name in parts for file in checkpoint.weight_files(name)]
        for file in files:
            with file.open("rb") as stream:
                stream.read(8)
    except CascadeError as error:
        return Finding("model", "broken", str(error), "correct CASCADE_MODEL; see cascade models")
    except OSError as error:
        remedy = "make the file readable for this user"
        return Finding("model", "broken", f"{error.filename}: {error.strerror}", remedy)
    return Finding("model", "ok", f"{checkpoint.id}, {len(files)} weight files are readable")


def check_data_dir(settings: Settings) -> Finding:
    """Check that the data folder can be made and written."""
    folder = settings.data_dir
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        detail = f"{folder} cannot be written: {error.strerror}"
        return Finding("data folder", "broken", detail, "set CASCADE_DATA_DIR to a folder of yours")
    if not is_private(folder.resolve()):
        detail = f"other users can read {folder}: prompts, pictures and the secrets of links"
        return Finding("data folder", "warning", detail, f"chmod -R go= {shlex.quote(str(folder))}")
    return Finding("data folder", "ok", str(folder))


def check_disk(settings: Settings) -> Finding:
    """Check the space left where pictures and latents go."""
    folder = _existing(settings.data_dir)
    free_bytes = shutil.disk_usage(folder).free
    detail = f"{free_bytes / _GIB:.1f} GiB free"
    remedy = "free some, or set CASCADE_DATA_DIR to a larger disk"
    if free_bytes < _DISK_BROKEN_BYTES:
        return Finding("disk", "broken", detail, remedy)
    if free_bytes < _DISK_WARNING_BYTES:
        return Finding("disk", "warning", detail, remedy)
    return Finding("disk", "ok", detail)


def check_shared_memory(settings: Settings) -> Finding:
    """Check the room for Ray's object store."""
    folder = Path("/dev/shm")
    if not folder.is_dir():
        return Finding("shared memory", "ok", "this system has no /dev/shm; Ray uses a folder")
    free_bytes = shutil.disk_usage(folder).free
    detail = f"{free_bytes / _GIB:.1f} GiB free"
    if free_bytes < _SHM_WARNING_BYTES:
        remedy = "in a container: --shm-size=1g"
        return Finding("shared memory", "warning", detail, remedy)
    return Finding("shared memory", "ok", detail)


def check_open_files(settings: Settings, allowed: int | None = None) -> Finding:
    """Check how many connections a proxy may hold open."""
    allowed = open_files.allowed() if allowed is None else allowed
    needed = open_files.needed(settings.max_streams)
    if allowed >= needed:
        return Finding("open files", "ok", f"up to {allowed}")
    detail = f"up to {allowed}, and CASCADE_MAX_STREAMS={settings.max_streams} needs {needed}"
    return Finding("open files", "warning", detail, "raise the hard limit (ulimit -Hn)")


def check_database(settings: Settings) -> Finding:
    """Check that the database answers and takes a row; tables that are missing are made."""
    from serve.settings import hide_password
    from serve.storage.database import Database

    where = hide_password(settings.database_url)
    try:
        database = Database(settings.database_url)
        database.create_tables()
        database.probe_writing()
        database.close()
    except CascadeError as error:
        return Finding("database", "broken", f"{where}: {error.for_operator}", _OTHER_DATABASE)
    except Exception as error:  # drivers raise anything, a missing one ImportError
        return Finding("database", "broken", f"{where}: {first_line(error)}", _OTHER_DATABASE)
    return Finding("database", "ok", where)


def check_access(settings: Settings) -> Finding:
    """Check that the service would not listen beyond this machine without API keys."""
    from serve.gateway.auth.exposure import MAKE_A_KEY, check_exposure

    try:
        return Finding("access", "ok", check_exposure(settings))
    except SettingsInvalid as error:
        return Finding("access", "broken", str(error), MAKE_A_KEY)
    except CascadeError as error:
        return Finding("access", "broken", error.for_operator, _OTHER_DATABASE)
    except Exception as error:  # drivers raise anything, a missing one ImportError
        return Finding("access", "broken", first_line(error), _OTHER_DATABASE)


def check_moderation(settings: Settings) -> Finding:
    """Check that the blocklist and the checker can be had."""
    from serve.moderation.moderator import load_checkers

    chosen = [value for value in (settings.blocklist, settings.checker) if value]
    try:
        load_checkers(settings, open_checkpoint(settings.model_source(), components=()))
    except CascadeError as error:
        return Finding("moderation", "broken", str(error), "correct this variable")
    return Finding("moderation", "ok", ", ".join(chosen) or "none; nothing is refused")


def check_blobs(settings: Settings) -> Finding:
    """Check that the blob store takes, gives and removes."""
    from serve.settings import hide_password
    from serve.storage.blobs.blob_store import BlobStore

    where = hide_password(settings.blob_url)
    try:
        asyncio.run(BlobStore(settings.blob_url).probe())
    except CascadeError as error:
        return Finding("blob store", "broken", f"{where}: {error.for_operator}", _OTHER_STORE)
    except Exception as error:  # wrong credentials surface as each backend's own errors
        return Finding("blob store", "broken", f"{where}: {first_line(error)}", _OTHER_STORE)
    return Finding("blob store", "ok", where)


def check_port(settings: Settings, *, is_served: bool) -> Finding:
    """Check that the service could listen, unless it does already."""
    host, port = settings.http_host, settings.http_port
    where = http_url(host, port).removeprefix("http://")
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError):  # a name with a part of over 63 characters
        remedy = "set CASCADE_HTTP_HOST to an address of this machine, such as 127.0.0.1"
        return Finding("port", "broken", f"there is no host named {host!r}", remedy)
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            if is_served:
                return Finding("port", "ok", f"{where} is taken by the service")
            detail = f"{where}: {os.strerror(error.errno or 0)}"
            return Finding("port", "broken", detail, _PORT_REMEDIES.get(error.errno or 0, ""))
    return Finding("port", "ok", f"{where} is free")


def check_port_to_start(settings: Settings) -> Finding:
    """Check that a new service could listen, and tell when the port is taken by one that runs."""
    found = check_port(settings, is_served=False)
    url = _address(settings)
    if found.status == "broken" and _is_ours(url):
        remedy = "stop it first, or start another with --port and a CASCADE_DATA_DIR of its own"
        return Finding("port", "broken", f"the service is at {url} already", remedy)
    return found


def check_no_start(settings: Settings) -> Finding:
    """Check that no service of these settings is starting already; it does not listen yet."""
    url = _address(settings)
    if is_starting(url):
        return Finding("port", "broken", starting(url), WAIT_FOR_START)
    return Finding("port", "ok", f"nothing starts at {url}")


def check_server(url: str) -> Finding:
    """Check whether a service answers and is ready; none at all is no fault."""
    try:
        with ServiceClient(url) as client:
            client.check_ready()
            return Finding("server", "ok", f"{client.url} is ready")
    except CliError as error:
        return Finding("server", "warning", error.message, error.remedy)


def _is_ours(url: str) -> bool:
    """Return True if the service listens at an address of this machine."""
    with suppress(httpx.HTTPError, ValueError):
        answer = httpx.get(f"{url}/healthz", timeout=_OWN_ANSWER_S, trust_env=False)
        return bool(answer.json() == {"status": "ok"})
    return False


def _address(settings: Settings) -> str:
    return http_url(settings.http_host, settings.http_port)


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if os.path.exists(path))
