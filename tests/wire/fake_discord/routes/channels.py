"""Routes that use the application's own token: messages where it is a member."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.wire.fake_discord.errors import ApiError, Problem, form_error, not_emulated
from tests.wire.fake_discord.messages import Json, Message
from tests.wire.fake_discord.rest import Call, Routes
from tests.wire.fake_discord.rules.permissions import Permission
from tests.wire.fake_discord.world import MIB, Channel

if TYPE_CHECKING:
    from tests.wire.fake_discord.server import FakeDiscord

ROUTES = Routes()
_MAX_NONCE = 25


@ROUTES.add("GET", "/channels/{channel_id}")
async def get_channel(fake: FakeDiscord, call: Call) -> Json:
    return _channel(fake, call).json()


@ROUTES.add("POST", "/channels/{channel_id}/typing")
async def typing(fake: FakeDiscord, call: Call) -> None:
    _channel(fake, call, Permission.SEND_MESSAGES)


@ROUTES.add("GET", "/channels/{channel_id}/messages")
async def list_messages(fake: FakeDiscord, call: Call) -> list[Json]:
    channel = _channel(fake, call, Permission.READ_MESSAGE_HISTORY)
    found = [m for m in fake.messages.of_channel(channel) if not m.is_ephemeral]
    if unknown := call.exchange.query.keys() - {"before", "limit"}:
        raise not_emulated(f"{sorted(unknown)} of a list of messages")
    before = int(call.exchange.query.get("before", 1 << 63))
    limit = int(call.exchange.query.get("limit", 50))
    newest = [m for m in reversed(found) if int(m.id) < before][:limit]
    return [fake.messages.json(message) for message in newest]


@ROUTES.add("POST", "/channels/{channel_id}/messages")
async def send(fake: FakeDiscord, call: Call) -> Json:
    channel = _channel(fake, call, Permission.SEND_MESSAGES)
    if channel.guild is None and not channel.recipients[0].accepts_dms:
        raise ApiError(Problem.CANNOT_SEND_TO_USER)
    draft = call.draft(_file_limit_bytes(channel))
    if draft.files and not channel.may(fake.bot, Permission.ATTACH_FILES):
        raise ApiError(Problem.MISSING_PERMISSIONS)
    nonce = draft.payload.get("nonce")
    if draft.payload.get("enforce_nonce") and (known := fake.messages.with_nonce(str(nonce))):
        return fake.messages.json(known)
    message = fake.messages.new(channel)
    message.nonce = None if nonce is None else str(nonce)
    if len(message.nonce or "") > _MAX_NONCE:
        raise form_error("nonce", f"Must be {_MAX_NONCE} or fewer in length.")
    await fake.messages.write(message, draft, is_new=True)
    return fake.messages.json(message)


@ROUTES.add("GET", "/channels/{channel_id}/messages/{message_id}")
async def get_message(fake: FakeDiscord, call: Call) -> Json:
    return fake.messages.json(_message(fake, call))


@ROUTES.add("PATCH", "/channels/{channel_id}/messages/{message_id}")
async def edit_message(fake: FakeDiscord, call: Call) -> Json:
    message = _message(fake, call)
    if message.author is not fake.bot:
        raise ApiError(Problem.NOT_YOUR_MESSAGE)
    fake.messages.check_old_edit(message)
    draft = call.draft(_file_limit_bytes(message.channel))
    if draft.files and not message.channel.may(fake.bot, Permission.ATTACH_FILES):
        raise ApiError(Problem.MISSING_PERMISSIONS)
    await fake.messages.write(message, draft)
    return fake.messages.json(message)


@ROUTES.add("DELETE", "/channels/{channel_id}/messages/{message_id}")
async def delete_message(fake: FakeDiscord, call: Call) -> None:
    message = _message(fake, call)
    is_own = message.author is fake.bot
    if not is_own and not message.channel.may(fake.bot, Permission.MANAGE_MESSAGES):
        raise ApiError(Problem.MISSING_PERMISSIONS)
    await fake.messages.delete(message)


def _channel(fake: FakeDiscord, call: Call, needed: Permission | None = None) -> Channel:
    """Return a channel that the application sees and where it has a permission."""
    found = next((c for c in fake.channels if c.id == call.args["channel_id"]), None)
    if found is None:
        raise ApiError(Problem.UNKNOWN_CHANNEL)
    if not found.may(fake.bot, Permission.VIEW_CHANNEL):
        raise ApiError(Problem.MISSING_ACCESS)
    if needed is not None and not found.may(fake.bot, needed):
        raise ApiError(Problem.MISSING_PERMISSIONS)
    return found


def _message(fake: FakeDiscord, call: Call) -> Message:
    channel = _channel(fake, call)
    message = fake.messages.get(call.args["message_id"])
    is_here = message is not None and message.channel is channel and not message.is_deleted
    if message is None or not is_here or message.is_ephemeral:
        raise ApiError(Problem.UNKNOWN_MESSAGE)
    return message


def _file_limit_bytes(channel: Channel) -> int:
    return channel.guild.file_limit_bytes if channel.guild else 10 * MIB
