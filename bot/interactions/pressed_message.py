"""The message of a pressed button: its owner, and the job that the press makes."""

from __future__ import annotations

from typing import Any

import discord

from bot.interactions.responder import Interaction
from bot.jobs.delivery_target import presentation_of
from bot.policy.job_request import JobRequest
from bot.policy.user_defaults import UserDefaults
from bot.service.models import Job
from bot.text.error_messages import UserError
from bot.views.custom_ids import CustomId, Visibility
from bot.views.picture_messages import has_spoiler


def template(message: discord.Message | None, defaults: UserDefaults) -> JobRequest:
    """Return a request that is as private and as hidden as the message it comes from."""
    return JobRequest(
        private=defaults.private or visibility(message) == "private",
        preview=defaults.preview,
        spoiler=has_spoiler(components(message)),
        source="" if message is None else link_to(message),
    )


def pressed_template(
    interaction: Interaction, pressed: CustomId, job: Job, defaults: UserDefaults
) -> JobRequest:
    """Return :func:`template` of the message of a job's pictures, for a press there or in a menu.

    A menu is another message, which is always private and without pictures.
    """
    if not pressed.is_in_menu:
        return template(interaction.message, defaults)
    return JobRequest(
        private=defaults.private or pressed.is_private,
        preview=defaults.preview,
        spoiler=presentation_of(job.client_state).spoiler,
        source="" if pressed.is_private else _link_to_origin(interaction),
    )


def visibility(message: discord.Message | None) -> Visibility:
    """Return whether people see a message, or one person alone does."""
    return "private" if message is not None and message.flags.ephemeral else "public"


def components(message: discord.Message | None) -> list[dict[str, Any]]:
    """Return a message's components as Discord has them."""
    return [] if message is None else [dict(part.to_dict()) for part in message.components]


def names_owner(interaction: Interaction) -> bool:
    """Return True if the message names its owner, or is a direct message."""
    message = interaction.message
    is_named = message is not None and message.interaction_metadata is not None
    return is_named or interaction.guild_id is None


def is_moderator(interaction: Interaction) -> bool:
    """Return True if the person may remove other people's messages."""
    return interaction.guild_id is not None and interaction.permissions.manage_messages


def is_own(interaction: Interaction) -> bool:
    """Return True unless the message names another person as its owner."""
    message = interaction.message
    metadata = None if message is None else message.interaction_metadata
    return metadata is None or metadata.user.id == interaction.user.id


def check_owner(interaction: Interaction) -> None:
    """Refuse another person at once, where the message names its owner; the service checks again.

    Raises:
        UserError: the message belongs to another person.
    """
    if not is_own(interaction):
        raise UserError.because("not_yours")


def check_may_remove(interaction: Interaction) -> None:
    """Check that the person may remove a message.

    Raises:
        UserError: the person is neither its owner nor a moderator.
    """
    if not (is_moderator(interaction) or is_own(interaction)):
        raise UserError.because("not_your_job")


def link_to(message: discord.Message) -> str:
    """Return the link to a message; empty for a message that only one person sees."""
    return "" if visibility(message) == "private" else message.jump_url


def _link_to_origin(interaction: Interaction) -> str:
    """Return the link to the message from which the pressed menu was opened; empty if unknown."""
    message = interaction.message
    metadata = None if message is None else message.interaction_metadata
    if metadata is None or metadata.interacted_message_id is None:
        return ""
    place = f"{interaction.guild_id or '@me'}/{interaction.channel_id}"
    return f"https://discord.com/channels/{place}/{metadata.interacted_message_id}"
