"""Finds a model's files and reads its configuration; it loads no weights."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import astuple, dataclass, field, fields
from math import inf
from pathlib import Path
from typing import Any, NamedTuple, get_args

from cascade_core.checkpoints import layout
from cascade_core.checkpoints.layout import ALL_COMPONENTS, Size, Variant
from cascade_core.errors import ModelUnavailable
from cascade_core.geometry import Geometry
from cascade_core.model_defaults import MAX_ROWS, ModelDefaults, StrengthWord

DEMO_MODEL = "demo"
DEMO_MODEL_DIR = Path(__file__).parents[1] / "demo_model"
STABLE_CASCADE_LICENCE = (
    "Stability AI Non-Commercial Research Community License: no commercial use of these weights"
)
UNSTATED_LICENCE = (
    "not stated; the published Stable Cascade weights are for non-commercial use only"
)

_HUB_COMMIT_CHARS = 40
_MAX_FACTOR, _MAX_LEVELS = 64, 16


@dataclass(frozen=True, slots=True)
class ModelSource:
    """Which model to open, as configured.

    Attributes:
        model: ``demo``, a folder, or a hub id such as ``stabilityai/stable-cascade``.
        prior_model: folder or hub id with Stage C; empty: the same folder if it holds a prior,
            else ``<model>-prior``.
        revision, prior_revision: pinned commits; needed for hub ids.
        variant: ``bf16`` picks the ``*.bf16.safetensors`` files.
        prior_size, decoder_size: ``lite`` picks the smaller U-Nets.
        previewer: the published previewer's weights; empty: look in the model's folders.
    """

    model: str = DEMO_MODEL
    prior_model: str = ""
    revision: str = ""
    prior_revision: str = ""
    variant: Variant = ""
    prior_size: Size = "full"
    decoder_size: Size = "full"
    previewer: str = ""

    @property
    def is_hub(self) -> bool:
        """Return True if a part must be fetched by hub id; only then is the network used."""
        return any(name and not _is_dir(_folder(name)) for name in (self.model, self.prior_model))


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """An opened model: folders, configuration and identity.

    Attributes:
        id: ``demo``, the folder's name or the hub id.
        revision: the pinned commit; for folders the first digits of the fingerprint.
        fingerprint: equal means the same weights and configuration.
        components: component name (``prior``, ``text_encoder``, ``tokenizer``, ``decoder``,
            ``vqgan``, ``prior_scheduler``, ``decoder_scheduler``) to its folder.
        max_rows: how many images may share a step, by device (``cpu``, ``cuda``) and stage, where
            the model states it; see :meth:`cascade_core.families.spec.Family.max_rows`.
        variant: which weight files to read, see :class:`ModelSource`.
        previewer: the published previewer's weights or ``preview.json``, where present.
        picture_encoder: ``effnet_encoder.safetensors`` or the folder ``latent_encoder``, where
            present: what turns pictures into Stage C latents.
    """

    id: str
    revision: str
    fingerprint: str
    licence: str
    geometry: Geometry
    defaults: ModelDefaults
    components: dict[str, Path] = field(repr=False)
    max_rows: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    variant: Variant = ""
    previewer: Path | None = None
    picture_encoder: Path | None = None

    def component(self, name: str) -> Path:
        """Return the folder of a component.

        Raises:
            ModelUnavailable: the model has no such component.
        """
        if name not in self.components:
            raise ModelUnavailable(f"model {self.id} has no {name} folder")
        return self.components[name]

    def weight_files(self, name: str) -> tuple[Path, ...]:
        """Return a component's safetensors files: one, or all shards.

        Raises:
            ModelUnavailable: the file is missing; names the path that was expected.
        """
        return layout.weight_files(self.component(name), self.variant)


class _Root(NamedTuple):
    """A folder, or a downloaded repository with its commit."""

    name: str
    path: Path
    commit: str


def check_names(source: ModelSource) -> None:
    """Check without the network that each configured name is a folder or a pinned hub id.

    Raises:
        ModelUnavailable: one is neither; names it and the remedy.
    """
    prior = (source.prior_model, source.prior_revision)
    for name, revision in ((source.model, source.revision), prior):
        if name and not _is_dir(_folder(name)):
            _check_hub_id(name, revision)


def open_checkpoint(
    source: ModelSource, components: Collection[str] = ALL_COMPONENTS
) -> Checkpoint:
    """Find a model's files and read its configuration.

    Args:
        source: the model as configured.
        components: the parts that this process loads, see ``StageSpec.components``; only these
            are downloaded from a hub, and only these must exist.

    Raises:
        ModelUnavailable: something is missing or unreadable; names it and the remedy.
    """
    try:
        if source.is_hub:
            # A pinned commit never changes: if all of it is cached, the network is not needed.
            with suppress(ModelUnavailable):
                return _open(source, components, cached_only=True)
        return _open(source, components, cached_only=False)
    except OSError as error:
        raise ModelUnavailable(f"{error.filename}: {error.strerror}") from error


def _open(source: ModelSource, components: Collection[str], cached_only: bool) -> Checkpoint:
    folders = layout.component_folders(source.prior_size, source.decoder_size)
    patterns = layout.hub_patterns(folders, components, source.variant)
    prior_root, decoder_root = _open_roots(source, patterns, cached_only)
    found = layout.find_components(folders, prior_root.path, decoder_root.path)
    for name in components:
        if name not in found:
            root = prior_root if name in layout.PRIOR_COMPONENTS else decoder_root
            raise ModelUnavailable(
                f"{root.path} has no {' or '.join(folders[name])} folder: the model setting must "
                "name a Stable Cascade model in diffusers layout"
            )
        layout.check_files(found[name], name, source.variant)
    about_path = decoder_root.path / "cascade.json"
    about = _read_optional(about_path)
    fingerprint = _fingerprint(source, prior_root, decoder_root, found)
    return Checkpoint(
        id=_identity(decoder_root, about),
        revision=decoder_root.commit or fingerprint[:12],
        fingerprint=fingerprint,
        licence=_licence(decoder_root, about),
        geometry=_read_geometry(prior_root.path, decoder_root.path, found),
        defaults=_read_defaults(about_path, about),
        components=found,
        max_rows=_read_max_rows(about_path, about),
        variant=source.variant,
        previewer=_find_previewer(source, prior_root.path, decoder_root.path),
        picture_encoder=layout.find_picture_encoder(decoder_root.path, prior_root.path),
    )


def _folder(name: str) -> Path:
    return DEMO_MODEL_DIR if name == DEMO_MODEL else Path(os.path.expanduser(name))


def _is_dir(folder: Path) -> bool:
    try:
        return folder.is_dir()
    except OSError as error:  # a folder above it may not be entered, or the name is too long
        raise ModelUnavailable(f"{folder}: {error.strerror}") from error


def _open_roots(source: ModelSource, patterns: list[str], cached_only: bool) -> tuple[_Root, _Root]:
    decoder_root = _open_root(source.model, source.revision, patterns, cached_only)
    if source.prior_model:
        prior_name = source.prior_model
    elif source.model == DEMO_MODEL or layout.holds_prior(decoder_root.path):
        prior_name = source.model
    else:
        prior_name = f"{source.model.rstrip('/')}-prior"
    if prior_name == source.model:
        return decoder_root, decoder_root
    if not (source.prior_model or decoder_root.commit or _is_dir(_folder(prior_name))):
        raise ModelUnavailable(
            f"{decoder_root.path} has no prior folder and {_folder(prior_name)} does not exist: "
            "set the prior model to a folder or hub id with Stage C"
        )
    return _open_root(prior_name, source.prior_revision, patterns, cached_only), decoder_root


def _open_root(name: str, revision: str, patterns: list[str], cached_only: bool) -> _Root:
    folder = _folder(name)
    if _is_dir(folder):
        return _Root(name, folder, "")
    _check_hub_id(name, revision)
    # Imported here: only a configured hub id may need the network.
    from cascade_core.checkpoints.hub import download

    return _Root(name, download(name, revision, patterns, cached_only), revision)


def _check_hub_id(name: str, revision: str) -> None:
    folder = _folder(name)
    if name == DEMO_MODEL:
        raise ModelUnavailable(f"the embedded demo model is missing: {folder} does not exist")
    if name.count("/") != 1 or name.startswith(("/", ".", "~")):
        raise ModelUnavailable(f"model folder {folder} does not exist: name a folder or a hub id")
    if len(revision) != _HUB_COMMIT_CHARS or not set(revision) <= set("0123456789abcdef"):
        raise ModelUnavailable(
            f"{name} is no folder here, and to fetch it from the hub its revision must be pinned "
            f"to a full {_HUB_COMMIT_CHARS}-digit commit, got {revision!r}"
        )


def _read_optional(path: Path) -> dict[str, Any]:
    return layout.read_json(path) if path.is_file() else {}


def _identity(root: _Root, about: dict[str, Any]) -> str:
    if root.commit or root.name == DEMO_MODEL:
        return root.name
    return str(about.get("name") or root.path.resolve().name)


def _licence(root: _Root, about: dict[str, Any]) -> str:
    if root.name.startswith("stabilityai/"):
        return STABLE_CASCADE_LICENCE
    return str(about.get("licence") or UNSTATED_LICENCE)


def _fingerprint(
    source: ModelSource, prior_root: _Root, decoder_root: _Root, found: dict[str, Path]
) -> str:
    if not (prior_root.commit and decoder_root.commit):
        return layout.fingerprint_files(found, source.variant)
    # A stage's process downloads only its own part, so files cannot identify the whole model.
    chosen = (prior_root.name, prior_root.commit, decoder_root.name, decoder_root.commit)
    sizes = (source.variant, source.prior_size, source.decoder_size)
    return hashlib.sha256("\n".join(chosen + sizes).encode()).hexdigest()


def _read_geometry(prior_root: Path, decoder_root: Path, found: dict[str, Path]) -> Geometry:
    """Read the three scales; keys that are absent have the published model's values."""
    prior = _read_optional(prior_root / "model_index.json")
    decoder = _read_optional(decoder_root / "model_index.json")
    vqgan = layout.read_json(found["vqgan"] / "config.json") if "vqgan" in found else {}
    default = Geometry()
    try:
        factor = _whole(vqgan, "up_down_scale_factor", _MAX_FACTOR)
        geometry = Geometry(
            resolution_multiple=float(
                prior.get("resolution_multiple", default.resolution_multiple)
            ),
            latent_dim_scale=float(decoder.get("latent_dim_scale", default.latent_dim_scale)),
            stage_a_factor=factor ** _whole(vqgan, "levels", _MAX_LEVELS),
        )
        if not all(0 < scale < inf for scale in astuple(geometry)):
            raise ValueError("scales must be more than 0")
    except (TypeError, ValueError, OverflowError) as error:
        raise ModelUnavailable(f"{decoder_root} has a scale that cannot be: {error}") from error
    return geometry


def _whole(vqgan: dict[str, Any], name: str, most: int) -> int:
    value = int(vqgan.get(name, 2))
    if not 1 <= value <= most:
        raise ValueError(f"{name} must be from 1 to {most}")
    return value


def _read_defaults(path: Path, about: dict[str, Any]) -> ModelDefaults:
    known = {item.name: getattr(ModelDefaults(), item.name) for item in fields(ModelDefaults)}
    given = {name: about[name] for name in known if name in about}
    if isinstance(given.get("suggestions"), list):
        given["suggestions"] = tuple(map(str, given["suggestions"]))
    for name, value in given.items():
        if not isinstance(value, type(known[name])) and not (
            isinstance(known[name], float) and isinstance(value, int)
        ):
            raise ModelUnavailable(f"{path}: {name} has the wrong type, got {value!r}")
        if isinstance(value, dict):
            _check_strengths(path, name, value)
    return ModelDefaults(**given)


def _check_strengths(path: Path, name: str, stated: dict[str, Any]) -> None:
    words = get_args(StrengthWord)
    if set(stated) != set(words) or not all(map(_is_strength, stated.values())):
        raise ModelUnavailable(
            f"{path}: {name} must give a number from 0 to 1 for each of {', '.join(words)}, "
            f"got {stated!r}"
        )


def _is_strength(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _read_max_rows(path: Path, about: dict[str, Any]) -> dict[str, dict[str, int]]:
    stated = about.get("max_rows", {})
    if (
        not isinstance(stated, dict)
        or not stated.keys() <= {"cpu", "cuda"}
        or not all(isinstance(rows, dict) for rows in stated.values())
        or not all(_is_row_count(count) for rows in stated.values() for count in rows.values())
    ):
        raise ModelUnavailable(
            f"{path}: max_rows must give numbers from 1 to {MAX_ROWS} by device (cpu, cuda) and "
            f"stage, got {stated!r}"
        )
    return stated


def _is_row_count(value: object) -> bool:
    return type(value) is int and 1 <= value <= MAX_ROWS


def _find_previewer(source: ModelSource, prior_root: Path, decoder_root: Path) -> Path | None:
    if source.previewer:
        configured = Path(os.path.expanduser(source.previewer))
        if not configured.is_file():
            raise ModelUnavailable(f"previewer {configured} does not exist")
        return configured
    for name in (layout.PREVIEWER_FILE, "preview.json"):
        for root in (decoder_root, prior_root):
            if (root / name).is_file():
                return root / name
    return None
