"""The doctor's checks of this machine: Python, Ray, GPU, disk, memory, open files."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

from cascade_core.errors import SettingsInvalid
from serve.cli.findings import Finding
from serve.local import open_files
from serve.local.private_files import is_private
from serve.settings import Settings

_PYTHONS = ((3, 11), (3, 12), (3, 13))
_GIB = 1024**3
_DISK_WARNING_BYTES, _DISK_BROKEN_BYTES = 2 * _GIB, _GIB // 5
_SHM_WARNING_BYTES = _GIB // 4


def check_python(version: tuple[int, ...] = sys.version_info[:3]) -> Finding:
    """Check the interpreter's version."""
    text = ".".join(map(str, version))
    if version[:2] not in _PYTHONS:
        return Finding(
            "python", "broken", f"{text} is not supported", "use Python 3.11, 3.12 or 3.13"
        )
    return Finding("python", "ok", text)


def check_ray() -> Finding:
    """Check that Ray Serve can be imported; a child process imports it, as that may crash."""
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
    """Check that the configured device is there."""
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


def check_acceleration(settings: Settings) -> Finding:
    """Check that what compiles or records steps is here, if that is chosen."""
    name = "acceleration"
    if not (settings.compile or settings.cuda_graphs_gb):
        return Finding(name, "ok", "steps are neither compiled nor recorded")
    import torch

    from cascade_core.models.compiled import check_compiler

    has_gpu = settings.device != "cpu" and torch.cuda.is_available()
    if settings.cuda_graphs_gb and not has_gpu:
        detail = "CASCADE_CUDA_GRAPHS_GB needs a GPU, and torch sees none"
        return Finding(name, "broken", detail, "set it to 0; cascade doctor looks for the GPU")
    try:
        if settings.compile:
            check_compiler("cuda" if has_gpu else "cpu")
    except SettingsInvalid as error:
        return Finding(name, "broken", f"CASCADE_COMPILE: {error}")
    return Finding(name, "ok", "steps can be compiled and recorded here as the settings say")


def check_data_dir(settings: Settings) -> Finding:
    """Check that the data folder can be created and written."""
    folder = settings.data_dir
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        detail = f"{folder} cannot be written: {error.strerror}"
        return Finding("data folder", "broken", detail, "set CASCADE_DATA_DIR to your own folder")
    if not is_private(folder.resolve()):
        detail = f"other users can see the names of the files in {folder}"
        if not _are_files_private(folder):
            detail = f"other users can read {folder}: prompts, pictures and the secrets of links"
        return Finding("data folder", "warning", detail, f"chmod -R go= {shlex.quote(str(folder))}")
    return Finding("data folder", "ok", str(folder))


def check_disk(settings: Settings) -> Finding:
    """Check the free disk space for pictures and latents."""
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
    """Check the free shared memory for Ray's object store."""
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


def _are_files_private(folder: Path) -> bool:
    try:
        return all(map(is_private, folder.iterdir()))
    except OSError:  # a file that the running service has just removed
        return False


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if os.path.exists(path))
