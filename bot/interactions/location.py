"""Where an interaction takes place: its channels, and whether they are age-restricted."""

from __future__ import annotations

from typing import Any

from bot.interactions.responder import Interaction


def channel_ids(interaction: Interaction) -> tuple[int, ...]:
    """Return the ids of where an interaction is: of the channel, and of the one around a thread."""
    parent_id = getattr(interaction.channel, "parent_id", None)
    return tuple(filter(None, (interaction.channel_id, parent_id)))


def is_adult_place(interaction: Interaction) -> bool:
    """Tell whether an interaction is in an age-restricted channel; where unknown, it is not."""
    channel: Any = interaction.channel
    is_nsfw = getattr(channel, "is_nsfw", None)
    if is_nsfw is None:
        return False
    try:
        return bool(is_nsfw())
    except AttributeError:  # a thread whose parent is not in the cache
        return bool(getattr(channel, "nsfw", False))
