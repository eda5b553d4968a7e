"""Which files make up a model on disk: folders of components, weight files, identity."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cascade_core.errors import CascadeError, ModelUnavailable
from cascade_core.families.component_folders import Variant

PREVIEWER_FILE = "previewer.safetensors"
EFFNET_FILE = "effnet_encoder.safetensors"
LATENT_ENCODER_FOLDER = "latent_encoder"

_WEIGHT_STEMS = ("diffusion_pytorch_model", "model")
_IDENTITY_FILES = ("config.json", "tokenizer.json", "vocab.json", "merges.txt")
_SAMPLE_BYTES = 64 * 1024
_SAMPLES_PER_FILE = 16


def find_components(
    folders: Mapping[str, tuple[Path, tuple[str, ...]]],
) -> dict[str, Path]:
    """Return the folder of every component that exists.

    Args:
        folders: by component, the folder that holds its folder, and the possible names of that.
    """
    found: dict[str, Path] = {}
    for name, (root, choices) in folders.items():
        existing = [root / choice for choice in choices if (root / choice).is_dir()]
        if existing:
            found[name] = existing[0]
    return found


def find_picture_encoder(*roots: Path) -> Path | None:
    """Return what encodes pictures: Stability's file, or the folder that the recipe writes.

    Args:
        roots: folders to look into, best first.
    """
    for root in roots:
        if (root / EFFNET_FILE).is_file():
            return root / EFFNET_FILE
        if (root / LATENT_ENCODER_FOLDER / "config.json").is_file():
            return root / LATENT_ENCODER_FOLDER
    return None


def has_weights(component: str) -> bool:
    """Return True if a component that a stage loads is a network, and no tokenizer."""
    return "tokenizer" not in component


def check_files(folder: Path, component: str, variant: Variant) -> None:
    """Check that a component's configuration and weights exist.

    Raises:
        ModelUnavailable: a file is missing; names it.
    """
    if not has_weights(component):
        _existing(folder / "tokenizer_config.json")
        return
    _existing(folder / "config.json")
    weight_files(folder, variant)


def weight_files(folder: Path, variant: Variant) -> tuple[Path, ...]:
    """Return a component's safetensors files: one, or the shards that its index names.

    Raises:
        ModelUnavailable: a file is missing; names it.
    """
    suffix = f".{variant}" if variant else ""
    for stem in _WEIGHT_STEMS:
        single = folder / f"{stem}{suffix}.safetensors"
        if single.is_file():
            return (single,)
        index = folder / f"{stem}.safetensors.index{suffix}.json"
        if index.is_file():
            return tuple(_existing(folder / shard) for shard in _shards(index))
    return (_existing(folder / f"{_WEIGHT_STEMS[0]}{suffix}.safetensors"),)


def _shards(index: Path) -> list[str]:
    shards = read_json(index).get("weight_map", {})
    if not isinstance(shards, dict) or not all(isinstance(name, str) for name in shards.values()):
        raise ModelUnavailable(f"{index}: weight_map must name the file of each weight")
    return sorted(set(shards.values()))


def hub_patterns(
    folders: Mapping[str, tuple[str, ...]], components: Collection[str], variant: Variant
) -> list[str]:
    """Return the file patterns to download: all configuration, weights of ``components`` only."""
    suffix = f".{variant}" if variant else ""
    # The encoder of pictures is optional, and every process needs to know whether there is one.
    encoder = f"{LATENT_ENCODER_FOLDER}/{_WEIGHT_STEMS[0]}.safetensors"
    patterns = ["*.json", "*tokenizer/*.txt", EFFNET_FILE, encoder]
    if "prior" in components:
        patterns.append(PREVIEWER_FILE)
    for component in components:
        for folder in folders[component]:
            for stem in _WEIGHT_STEMS:
                patterns.append(f"{folder}/{stem}{suffix}.safetensors")
                patterns.append(f"{folder}/{stem}-?????-of-?????{suffix}.safetensors")
    return patterns


def fingerprint_files(
    components: Collection[str], found: Mapping[str, Path], variant: Variant
) -> str:
    """Return a hash over the configuration, sizes and sampled blocks of the weights.

    Whole files would take a minute for the published weights; blocks spread over each file
    distinguish retrained weights just as well.
    """
    digest = hashlib.sha256()
    for component in components:
        for path in _identity_files(found.get(component), variant):
            digest.update(f"{component}/{path.name}:{path.stat().st_size};".encode())
            for block in sample_file(path):
                digest.update(block)
    return digest.hexdigest()


def read_json(path: Path) -> dict[str, Any]:
    """Read a configuration file.

    Raises:
        ModelUnavailable: missing, unreadable or not a JSON object.
    """
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelUnavailable(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # the second: lists in lists without end
        raise ModelUnavailable(f"{path} is not valid JSON: {error}") from error
    if not isinstance(body, dict):
        raise ModelUnavailable(f"{path} must hold a JSON object")
    return body


@contextmanager
def as_unavailable(path: Path) -> Iterator[None]:
    """Turn whatever a file's content makes Python and the libraries raise into one sentence.

    Raises:
        ModelUnavailable: names the file or folder, and the reason.
    """
    try:
        yield
    except CascadeError:
        raise
    except Exception as error:  # files are foreign, and the libraries raise plain Exceptions
        said = str(error).strip().partition("\n")[0]
        what = type(error).__name__
        # The others say all in their text; that of a KeyError is the key alone.
        reason = f"{what} {said}".rstrip() if isinstance(error, KeyError) or not said else said
        raise ModelUnavailable(f"{path} cannot be loaded: {reason}") from error


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise ModelUnavailable(
            f"{path} does not exist: complete the model folder or choose another variant"
        )
    return path


def _identity_files(folder: Path | None, variant: Variant) -> Iterator[Path]:
    if folder is None:
        return
    yield from (folder / name for name in _IDENTITY_FILES if (folder / name).is_file())
    try:
        yield from weight_files(folder, variant)
    except ModelUnavailable:
        # A process that does not load this component need not have its weights.
        return


def sample_file(path: Path) -> Iterator[bytes]:
    """Yield the blocks of a file by which it is told from others."""
    size_bytes = path.stat().st_size
    with path.open("rb") as file:
        if size_bytes <= _SAMPLES_PER_FILE * _SAMPLE_BYTES:
            yield file.read()
            return
        for index in range(_SAMPLES_PER_FILE):
            file.seek(index * (size_bytes - _SAMPLE_BYTES) // (_SAMPLES_PER_FILE - 1))
            yield file.read(_SAMPLE_BYTES)
