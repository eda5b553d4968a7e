"""What there is: people, guilds, channels, and the application itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from tests.wire.fake_discord.rules.permissions import DEFAULT, Permission, of_member

MIB = 1 << 20
_JOINED = "2026-01-01T00:00:00+00:00"


class ChannelType(IntEnum):
    """The kinds of channel that the emulator has."""

    GUILD_TEXT = 0
    DM = 1
    GROUP_DM = 3


class Context(IntEnum):
    """Where an interaction takes place."""

    GUILD = 0
    BOT_DM = 1
    PRIVATE_CHANNEL = 2


@dataclass(eq=False)
class User:
    """An account.

    Attributes:
        has_app: the user has installed the application for themselves.
        accepts_dms: the application may write to the user.
        file_limit_bytes: what the user may upload, more with Nitro.
    """

    id: str
    name: str
    locale: str = "en-US"
    is_bot: bool = False
    has_app: bool = False
    accepts_dms: bool = True
    file_limit_bytes: int = 10 * MIB

    def json(self) -> dict[str, Any]:
        """Return the account as others see it."""
        return {
            "id": self.id,
            "username": self.name,
            "global_name": self.name.title(),
            "discriminator": "0",
            "avatar": None,
            "bot": self.is_bot,
            "public_flags": 0,
            "flags": 0,
            "primary_guild": None,
        }

    def own_json(self) -> dict[str, Any]:
        """Return the account as its owner sees it."""
        return self.json() | {"locale": self.locale, "mfa_enabled": False}


@dataclass
class Role:
    """Permissions that a guild grants to some."""

    id: str
    name: str
    permissions: int

    def json(self) -> dict[str, Any]:
        """Return the role."""
        colors = {"primary_color": 0, "secondary_color": None, "tertiary_color": None}
        return {
            "id": self.id,
            "name": self.name,
            "permissions": str(int(self.permissions)),
            "position": 0,
            "color": 0,
            "colors": colors,
            "hoist": False,
            "managed": False,
            "mentionable": False,
            "icon": None,
            "unicode_emoji": None,
            "description": None,
            "flags": 0,
        }


@dataclass
class Member:
    """A user in a guild."""

    user: User
    role_ids: list[str] = field(default_factory=list)

    def json(self) -> dict[str, Any]:
        """Return the member."""
        return {
            "user": self.user.json(),
            "roles": self.role_ids,
            "nick": None,
            "avatar": None,
            "banner": None,
            "joined_at": _JOINED,
            "deaf": False,
            "mute": False,
            "flags": 0,
            "pending": False,
            "communication_disabled_until": None,
            "premium_since": None,
        }


@dataclass(eq=False)
class Guild:
    """A server.

    Attributes:
        members: by user id; the application is one of them where it is installed.
        everyone: permissions of all members.
        file_limit_bytes: what may be uploaded here, more with boosts.
    """

    id: str
    name: str
    owner_id: str
    locale: str = "en-US"
    file_limit_bytes: int = 10 * MIB
    everyone: int = DEFAULT
    members: dict[str, Member] = field(default_factory=dict)
    roles: dict[str, Role] = field(default_factory=dict)
    channels: list[Channel] = field(default_factory=list)

    def partial_json(self) -> dict[str, Any]:
        """Return what an interaction tells of the guild."""
        return {"id": self.id, "features": [], "locale": self.locale}

    def json(self) -> dict[str, Any]:
        """Return the guild with its channels and members, as the gateway announces it."""
        everyone = Role(self.id, "@everyone", self.everyone)
        return _EMPTY_GUILD | {
            "id": self.id,
            "name": self.name,
            "owner_id": self.owner_id,
            "preferred_locale": self.locale,
            "roles": [role.json() for role in (everyone, *self.roles.values())],
            "members": [member.json() for member in self.members.values()],
            "member_count": len(self.members),
            "channels": [channel.json() for channel in self.channels],
        }


_EMPTY_GUILD: dict[str, Any] = {
    "features": [],
    "emojis": [],
    "stickers": [],
    "voice_states": [],
    "presences": [],
    "threads": [],
    "stage_instances": [],
    "guild_scheduled_events": [],
    "soundboard_sounds": [],
    "large": False,
    "unavailable": False,
    "verification_level": 0,
    "default_message_notifications": 0,
    "explicit_content_filter": 0,
    "mfa_level": 0,
    "nsfw_level": 0,
    "premium_tier": 0,
    "afk_timeout": 300,
    "system_channel_flags": 0,
    "joined_at": _JOINED,
}


@dataclass(eq=False)
class Channel:
    """A place for messages.

    Attributes:
        recipients: the participants where there is no guild, without the application.
        has_bot: the application takes part (in a DM of two people it does not).
        denied: permissions taken away, by user id or, for everybody, by the guild's id.
    """

    id: str
    name: str
    type: ChannelType
    guild: Guild | None = None
    is_nsfw: bool = False
    recipients: list[User] = field(default_factory=list)
    has_bot: bool = True
    denied: dict[str, Permission] = field(default_factory=dict)

    @property
    def context(self) -> Context:
        """Where an interaction in this channel takes place."""
        if self.guild is not None:
            return Context.GUILD
        return Context.BOT_DM if self.has_bot else Context.PRIVATE_CHANNEL

    @property
    def guild_id(self) -> str | None:
        """Its guild's id."""
        return self.guild.id if self.guild else None

    def permissions_of(self, user: User) -> int:
        """Return what a user may do here; nothing for strangers."""
        if self.guild is not None:
            is_member = user.id in self.guild.members
            return of_member(self.guild, user.id, self) if is_member else 0
        if user in self.recipients or (user.is_bot and self.has_bot):
            return int(DEFAULT)
        return 0

    def may(self, user: User, permission: Permission) -> bool:
        """Return True if a user has a permission here."""
        return bool(self.permissions_of(user) & permission)

    def json(self) -> dict[str, Any]:
        """Return the channel."""
        common = {"id": self.id, "type": int(self.type), "last_message_id": None, "flags": 0}
        if self.guild is None:
            return common | self._private_json()
        return common | {
            "guild_id": self.guild.id,
            "name": self.name,
            "nsfw": self.is_nsfw,
            "position": 0,
            "topic": None,
            "parent_id": None,
            "rate_limit_per_user": 0,
            "permission_overwrites": [self._overwrite_json(target) for target in self.denied],
        }

    def _private_json(self) -> dict[str, Any]:
        people = {"recipients": [user.json() for user in self.recipients]}
        if self.type is ChannelType.DM:
            return people
        owner_id = self.recipients[0].id
        return people | {"name": self.name, "icon": None, "owner_id": owner_id, "managed": False}

    def _overwrite_json(self, target: str) -> dict[str, Any]:
        assert self.guild is not None
        denied = str(int(self.denied[target]))
        return {"id": target, "type": int(target != self.guild.id), "allow": "0", "deny": denied}
