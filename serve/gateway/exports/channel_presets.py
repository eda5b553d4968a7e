"""The presets that every service has: sizes that channels recommend, as of 2026."""

from __future__ import annotations

from typing import Final

from cascade_core.images.renditions import Preset

_MB: Final = 1_000_000

CHANNEL_PRESETS: Final[dict[str, Preset]] = {
    preset.name: preset
    for preset in (
        Preset("instagram-square", 1080, 1080),
        Preset("instagram-portrait", 1080, 1350),
        Preset("instagram-landscape", 1080, 566),
        Preset("story", 1080, 1920, fit="blur"),
        Preset("link-card", 1200, 630, max_bytes=1 * _MB),
        Preset("linkedin", 1200, 627, max_bytes=5 * _MB),
        Preset("x", 1280, 720, max_bytes=5 * _MB),
        Preset("youtube-thumbnail", 1280, 720, max_bytes=2 * _MB),
        Preset("pinterest", 1000, 1500),
        Preset("discord-banner", 960, 540, image_format="png"),
        Preset("web", 1600, 1600, fit="inside", image_format="webp"),
    )
}
"""By name. ``story`` is for stories and reels of several channels, ``link-card`` for Open Graph."""
