"""The channel in which an interaction takes place."""

from __future__ import annotations

from typing import Any

from bot.interactions.responder import Interaction


def channel_ids(interaction: Interaction) -> tuple[int, ...]:
    """Return the id of an interaction's channel; for a thread, also that of its parent channel."""
    parent_id = getattr(interaction.channel, "parent_id", None)
    return tuple(filter(None, (interaction.channel_id, parent_id)))


def is_age_restricted(interaction: Interaction) -> bool:
    """Return True if an interaction is in an age-restricted channel; False if unknown."""
    channel: Any = interaction.channel
    is_nsfw = getattr(channel, "is_nsfw", None)
    if is_nsfw is None:
        return False
    try:
        return bool(is_nsfw())
    except AttributeError:  # the cache lacks the thread's parent
        return bool(getattr(channel, "nsfw", False))
