"""One thing that a person did in the client, and what came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from tests.limits import HANG_S
from tests.wire.fake_discord import modals
from tests.wire.fake_discord.messages import Json, Message
from tests.wire.fake_discord.world import Channel, Context, User

if TYPE_CHECKING:
    from tests.wire.fake_discord.server import FakeDiscord


class Kind(IntEnum):
    """The types of interaction."""

    COMMAND = 2
    COMPONENT = 3
    AUTOCOMPLETE = 4
    MODAL = 5


class Callback(IntEnum):
    """The types of first answer."""

    MESSAGE = 4
    DEFERRED_MESSAGE = 5
    DEFERRED_UPDATE = 6
    UPDATE = 7
    CHOICES = 8
    MODAL = 9


@dataclass(eq=False)
class Interaction:
    """What a person did, and what they see of the answer.

    Attributes:
        owners: through whose installation it came: ``"0"`` a guild's, ``"1"`` the user's own.
        born_s: when its token began to live; ``delivered_s``: when the application was told.
        source: the message whose component was used, or that the modal came from.
        trigger: the interaction that opened the modal.
        ack: the first answer; None as long as there is none.
        original: the message that the first answer made or changes.
    """

    fake: FakeDiscord
    id: str
    token: str
    kind: Kind
    user: User
    channel: Channel
    data: Json
    owners: dict[str, str]
    born_s: float
    delivered_s: float
    source: Message | None = None
    trigger: Interaction | None = None
    ack: Callback | None = None
    ack_latency_s: float | None = None
    original: Message | None = None
    followups: list[Message] = field(default_factory=list)
    modal: Json | None = None
    choices: list[Json] | None = None

    @property
    def replies(self) -> list[Message]:
        """The messages that it made or changes and that are still there, the original first."""
        made = ([self.original] if self.original else []) + self.followups
        return [message for message in made if not message.is_deleted]

    @property
    def is_overdue(self) -> bool:
        """The bot did not answer in time: the person reads "This interaction failed"."""
        age_s = self.fake.clock.now_s() - self.delivered_s
        return self.ack is None and age_s > self.fake.rules.ack_deadline_s

    @property
    def is_user_installed_only(self) -> bool:
        """The application is not in the place where this happened."""
        return "0" not in self.owners

    @property
    def file_limit_bytes(self) -> int:
        """The largest file that an answer may have."""
        guild = self.channel.guild
        return max(self.user.file_limit_bytes, guild.file_limit_bytes if guild else 0)

    async def acked(self, timeout_s: float = HANG_S) -> Interaction:
        """Wait for the first answer."""
        await self.fake.wait_for(lambda: self.ack is not None, timeout_s)
        return self

    async def failed(self, timeout_s: float = HANG_S) -> None:
        """Wait until the person reads that the interaction failed."""
        self.fake.announce_after(self.fake.rules.ack_deadline_s + 0.01)
        await self.fake.wait_for(lambda: self.is_overdue, timeout_s)

    async def reply(
        self, predicate: Callable[[Message], Any] = lambda _: True, timeout_s: float = HANG_S
    ) -> Message:
        """Wait until a message that it made or changes meets a predicate and is not "thinking"."""

        def find() -> Message | None:
            ready = (m for m in self.replies if not m.is_loading)
            return next((m for m in ready if predicate(m)), None)

        found = await self.fake.wait_for(find, timeout_s)
        assert found is not None
        return found

    @property
    def prefilled(self) -> dict[str, Any]:
        """What the fields of the modal that it opened say already, by label."""
        assert self.modal is not None, "it opened no modal"
        return modals.prefilled(self.modal)

    def metadata_json(self) -> Json:
        """Return what the messages that answer it tell of it."""
        kind = Kind.COMMAND if self.kind is Kind.AUTOCOMPLETE else self.kind
        found: Json = {
            "id": self.id,
            "type": int(kind),
            "user": self.user.json(),
            "authorizing_integration_owners": self.owners,
        }
        if self.kind is Kind.COMPONENT and self.source:
            found["interacted_message_id"] = self.source.id
        if self.kind is Kind.MODAL and self.trigger:
            found["triggering_interaction_metadata"] = self.trigger.metadata_json()
        return found

    def json(self) -> Json:
        """Return the event that tells the application."""
        channel, guild = self.channel, self.channel.guild
        found: Json = {
            "id": self.id,
            "application_id": self.fake.bot.id,
            "type": int(self.kind),
            "token": self.token,
            "version": 1,
            "data": self.data,
            "channel_id": channel.id,
            "channel": channel.json() | {"permissions": str(self._permissions())},
            "locale": self.user.locale,
            "app_permissions": str(channel.permissions_of(self.fake.bot)),
            "entitlements": [],
            "attachment_size_limit": self.file_limit_bytes,
            "context": int(channel.context),
            "authorizing_integration_owners": self.owners,
        }
        if self.source is not None:
            found["message"] = self.fake.messages.json(self.source)
        if guild is None:
            return found | {"user": self.user.json()}
        member = guild.members[self.user.id].json() | {"permissions": str(self._permissions())}
        partial = {"guild_id": guild.id, "guild": guild.partial_json(), "member": member}
        return found | partial | {"guild_locale": guild.locale}

    def _permissions(self) -> int:
        return self.channel.permissions_of(self.user)


def owners_of(user: User, channel: Channel, bot: User) -> dict[str, str]:
    """Return through whose installation a user reaches the application in a channel."""
    owners = {"1": user.id} if user.has_app else {}
    if channel.guild is not None and bot.id in channel.guild.members:
        owners["0"] = channel.guild.id
    if channel.context is Context.BOT_DM:
        owners["0"] = "0"
    return owners
