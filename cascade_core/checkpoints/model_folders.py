"""Finds the folder of a model by its configured name: embedded, a folder, or a pinned hub id."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from cascade_core.errors import ModelUnavailable

DEMO_MODEL: Final = "demo"
DEMO_MODEL_DIR: Final = Path(__file__).parents[1] / "demo_model"
EMBEDDED: Final[Mapping[str, Path]] = {
    DEMO_MODEL: DEMO_MODEL_DIR,
    "demo-flow": DEMO_MODEL_DIR.with_name("demo_flow"),
}
"""The models that come with the package, by name."""

_HUB_COMMIT_CHARS = 40


class ModelRoot(NamedTuple):
    """A folder, or a downloaded repository with its commit.

    Attributes:
        name: as configured.
        commit: of a hub's repository; empty for a folder.
    """

    name: str
    path: Path
    commit: str


def folder_of(name: str) -> Path:
    """Return the folder that a name stands for, whether it exists or not."""
    return EMBEDDED.get(name) or Path(os.path.expanduser(name))


def is_folder(folder: Path) -> bool:
    """Return True if there is such a folder.

    Raises:
        ModelUnavailable: it cannot be found out.
    """
    try:
        return folder.is_dir()
    except OSError as error:  # a folder above it may not be entered, or the name is too long
        raise ModelUnavailable(f"{folder}: {error.strerror}") from error


def model_id(root: ModelRoot, stated_name: str) -> str:
    """Return a model's id: its hub id, its embedded name, what it states, or its folder's name."""
    if root.commit or root.name in EMBEDDED:
        return root.name
    return stated_name or root.path.resolve().name


def open_root(name: str, revision: str, patterns: list[str], cached_only: bool) -> ModelRoot:
    """Return a model's folder; files of a hub id that match the patterns are fetched.

    Raises:
        ModelUnavailable: it is neither a folder nor a pinned hub id, or it cannot be fetched.
    """
    folder = folder_of(name)
    if is_folder(folder):
        return ModelRoot(name, folder, "")
    check_hub_id(name, revision)
    # Imported here: only a configured hub id may need the network.
    from cascade_core.checkpoints.hub import download

    return ModelRoot(name, download(name, revision, patterns, cached_only), revision)


def check_hub_id(name: str, revision: str) -> None:
    """Check that a name which is no folder is a hub id with its commit.

    Raises:
        ModelUnavailable: it is not; names the remedy.
    """
    folder = folder_of(name)
    if name in EMBEDDED:
        raise ModelUnavailable(f"the embedded model {name} is missing: {folder} does not exist")
    if name.count("/") != 1 or name.startswith(("/", ".", "~")):
        raise ModelUnavailable(f"model folder {folder} does not exist: name a folder or a hub id")
    if len(revision) != _HUB_COMMIT_CHARS or not set(revision) <= set("0123456789abcdef"):
        raise ModelUnavailable(
            f"{name} is no folder here, and to fetch it from the hub its revision must be pinned "
            f"to a full {_HUB_COMMIT_CHARS}-digit commit, got {revision!r}"
        )
