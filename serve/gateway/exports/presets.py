"""Presets by name: those of every service, and those that people have added."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from cascade_core.errors import InvalidRequest
from cascade_core.images.renditions import Preset
from serve.gateway.dependencies import Services
from serve.gateway.exports.bodies import PRESET_NAME, PresetAnswer, PresetBody
from serve.gateway.exports.channel_presets import CHANNEL_PRESETS
from serve.gateway.exports.file_names import check_template


async def all_presets(services: Services) -> Mapping[str, Preset]:
    """Return all presets by name.

    Raises:
        NotReady: the database does not answer.
    """
    stored = await services.database.run(services.database.export_presets.all)
    return CHANNEL_PRESETS | {name: _preset(name, body) for name, body in stored.items()}


async def named_presets(services: Services, names: Sequence[str]) -> list[Preset]:
    """Return presets by their names, each once.

    Raises:
        InvalidRequest: there is no such preset.
        NotReady: the database does not answer.
    """
    known = await all_presets(services)
    for name in names:
        if name not in known:
            raise InvalidRequest(
                f"there is no preset {name}; there are {', '.join(sorted(known))}", "presets"
            )
    return [known[name] for name in dict.fromkeys(names)]


def check_preset(name: str, body: PresetBody) -> None:
    """Check that a preset can be kept.

    Raises:
        InvalidRequest: its name is none or that of a built-in one, or PNG files are to be limited.
    """
    if not re.fullmatch(PRESET_NAME, name):
        message = "name must have up to 48 of a-z, 0-9 and -, a letter or digit first"
        raise InvalidRequest(message, "name")
    if name in CHANNEL_PRESETS:
        raise InvalidRequest(f"{name} is built in and cannot be changed", "name")
    if body.file_name is not None:
        check_template(body.file_name, "file_name")
    if body.max_bytes is not None and body.format == "png":
        raise InvalidRequest("max_bytes is for jpeg and webp: png has no quality", "max_bytes")


def preset_answer(preset: Preset) -> PresetAnswer:
    """Return a preset's HTTP form."""
    return PresetAnswer(
        name=preset.name,
        width=preset.width,
        height=preset.height,
        fit=preset.fit,
        format=preset.image_format,
        max_bytes=preset.max_bytes,
        background="#" + bytes(preset.background).hex(),
        file_name=preset.file_name or None,
        is_built_in=preset.name in CHANNEL_PRESETS,
    )


def _preset(name: str, stored: Mapping[str, Any]) -> Preset:
    body = PresetBody.model_validate(stored)
    red, green, blue = bytes.fromhex(body.background.removeprefix("#"))
    return Preset(
        name=name,
        width=body.width,
        height=body.height,
        fit=body.fit,
        image_format=body.format,
        max_bytes=body.max_bytes,
        background=(red, green, blue),
        file_name=body.file_name or "",
    )
