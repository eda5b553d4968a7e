"""All messages and files, and what happens when one is written or deleted."""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from tests.wire.fake_discord.errors import Problem, RateLimitedError
from tests.wire.fake_discord.interactions import Interaction
from tests.wire.fake_discord.messages import Attachment, Json, Message, Upload, inspect
from tests.wire.fake_discord.rules.permissions import Permission
from tests.wire.fake_discord.rules.writing import Draft, write
from tests.wire.fake_discord.sessions import Intent
from tests.wire.fake_discord.world import Channel, User

if TYPE_CHECKING:
    from tests.wire.fake_discord.server import FakeDiscord

_OLD_S = 3600.0


@dataclass
class Rules:
    """Figures of Discord's that a test may change.

    Attributes:
        ack_deadline_s: how long the first answer to an interaction may take.
        token_ttl_s: how long an interaction's token lives.
        token_age_s: how old new tokens are already; their ids say so too.
        attachment_url_ttl_s: how long an attachment's URL is good.
        nonce_ttl_s: how long a second message with the same nonce makes no new one.
        old_edits: how many edits of messages older than an hour a channel takes per window.
    """

    ack_deadline_s: float = 3.0
    token_ttl_s: float = 900.0
    token_age_s: float = 0.0
    attachment_url_ttl_s: float = 86_400.0
    nonce_ttl_s: float = 180.0
    old_edits: int = 3
    old_edits_window_s: float = 20.0


class MessageStore:
    """The messages by id, and the files by their path on the content network."""

    def __init__(self, fake: FakeDiscord) -> None:
        self._fake = fake
        self._messages: dict[str, Message] = {}
        self._old_edits: dict[str, deque[float]] = defaultdict(deque)
        self.files: dict[str, Attachment] = {}

    def get(self, message_id: str) -> Message | None:
        """Return a message, deleted ones included."""
        return self._messages.get(message_id)

    def of_channel(self, channel: Channel) -> list[Message]:
        """Return the messages that a channel has now, oldest first."""
        here = (m for m in self._messages.values() if m.channel is channel)
        return [message for message in here if not message.is_deleted]

    def with_nonce(self, nonce: str) -> Message | None:
        """Return the application's message of the last minutes that has a nonce."""
        since_s = self._fake.clock.now_s() - self._fake.rules.nonce_ttl_s
        recent = (m for m in self._messages.values() if m.created_s >= since_s)
        return next((m for m in recent if m.nonce == nonce and not m.is_deleted), None)

    def new(
        self,
        channel: Channel,
        author: User | None = None,
        source: Interaction | None = None,
        age_s: float = 0.0,
    ) -> Message:
        """Return an empty message of the application, or another's; no person sees it yet."""
        fake = self._fake
        author = author or fake.bot
        at_s = fake.clock.now_s() - age_s
        return Message(fake.snowflakes.new(age_s), channel, author, at_s, source=source)

    async def write(self, message: Message, draft: Draft, is_new: bool = False) -> None:
        """Change a message by Discord's rules and show it.

        Raises:
            ApiError: a rule is broken; the message is what it was.
        """
        write(message, draft, partial(self.keep, message.channel), is_new)
        if not is_new:
            message.edited_s = self._fake.clock.now_s()
        await self.publish(message, "MESSAGE_CREATE" if is_new else "MESSAGE_UPDATE")

    async def publish(self, message: Message, event: str) -> None:
        """Show a message as it is now."""
        self._messages[message.id] = message
        message.remember(self._fake.clock.now_s())
        shown = self.json(message)
        is_hidden = not self._fake.gateway.granted & Intent.MESSAGE_CONTENT
        if message.author is not self._fake.bot and is_hidden:
            shown |= {"content": "", "attachments": [], "embeds": [], "components": []}
        await self._tell(message, event, shown)

    async def delete(self, message: Message) -> None:
        """Take a message away."""
        message.is_deleted = True
        gone = {"id": message.id, "channel_id": message.channel.id}
        await self._tell(message, "MESSAGE_DELETE", gone)

    async def _tell(self, message: Message, event: str, data: Json) -> None:
        channel = message.channel
        if not message.is_ephemeral and channel.may(self._fake.bot, Permission.VIEW_CHANNEL):
            where = {"guild_id": channel.guild_id} if channel.guild_id else {}
            await self._fake.gateway.dispatch(event, data | where, channel.guild_id)
        self._fake.announce()

    def json(self, message: Message) -> Json:
        """Return a message as it is sent, with fresh URLs."""
        return message.json(self._fake.cdn_url, self._url_expires_s())

    def keep(self, channel: Channel, upload: Upload, description: str | None) -> Attachment:
        """Keep a file."""
        typed, size_px = inspect(upload)
        new_id = self._fake.snowflakes.new()
        attachment = Attachment(new_id, channel.id, typed, description, size_px=size_px)
        self.files[attachment.path] = attachment
        return attachment

    def option_json(self, channel: Channel, upload: Upload) -> Json:
        """Keep a file that a person uploads with a command; returns it as the command has it."""
        attachment = self.keep(channel, upload, None)
        attachment.is_ephemeral = True
        return attachment.json(self._fake.cdn_url, self._url_expires_s())

    def _url_expires_s(self) -> float:
        return self._fake.clock.now_s() + self._fake.rules.attachment_url_ttl_s

    def check_old_edit(self, message: Message) -> None:
        """Count an edit.

        Raises:
            RateLimitedError: messages older than an hour were edited too often.
        """
        rules, now_s = self._fake.rules, self._fake.clock.now_s()
        if now_s - message.created_s < _OLD_S:
            return
        edits = self._old_edits[message.channel.id]
        while edits and now_s - edits[0] >= rules.old_edits_window_s:
            edits.popleft()
        if len(edits) >= rules.old_edits:
            retry_after_s = rules.old_edits_window_s - (now_s - edits[0])
            raise RateLimitedError(retry_after_s, problem=Problem.OLD_EDITS)
        edits.append(now_s)
