"""What a member may do in a channel: the bits that the emulator enforces, and how they add up."""

from __future__ import annotations

from enum import IntFlag
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.wire.fake_discord.world import Channel, Guild


class Permission(IntFlag):
    """Permission bits by Discord's numbers."""

    ADMINISTRATOR = 1 << 3
    MANAGE_GUILD = 1 << 5
    VIEW_CHANNEL = 1 << 10
    SEND_MESSAGES = 1 << 11
    MANAGE_MESSAGES = 1 << 13
    EMBED_LINKS = 1 << 14
    ATTACH_FILES = 1 << 15
    READ_MESSAGE_HISTORY = 1 << 16
    USE_APPLICATION_COMMANDS = 1 << 31
    USE_EXTERNAL_APPS = 1 << 50


NONE = Permission(0)
EVERYTHING = (1 << 53) - 1
DEFAULT = (
    Permission.VIEW_CHANNEL
    | Permission.SEND_MESSAGES
    | Permission.EMBED_LINKS
    | Permission.ATTACH_FILES
    | Permission.READ_MESSAGE_HISTORY
    | Permission.USE_APPLICATION_COMMANDS
    | Permission.USE_EXTERNAL_APPS
)


def of_member(guild: Guild, user_id: str, channel: Channel | None = None) -> int:
    """Return a member's permissions in a guild, or in one of its channels."""
    member = guild.members[user_id]
    granted = int(guild.everyone)
    for role_id in member.role_ids:
        granted |= guild.roles[role_id].permissions
    if granted & Permission.ADMINISTRATOR:
        return EVERYTHING
    if channel is not None:
        for target in (guild.id, user_id):  # everyone's overwrite first, the member's own last
            granted &= ~channel.denied.get(target, NONE)
    if channel is not None and not granted & Permission.VIEW_CHANNEL:
        return 0
    return granted
