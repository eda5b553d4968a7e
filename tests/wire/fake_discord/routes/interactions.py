"""Routes that answer an interaction: its callback, and the webhook that its token opens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.wire.fake_discord.errors import ApiError, Problem, form_error
from tests.wire.fake_discord.interactions import Callback, Interaction, Kind
from tests.wire.fake_discord.messages import EPHEMERAL, LOADING, Json, Message
from tests.wire.fake_discord.rest import Call, Routes
from tests.wire.fake_discord.rules.components import check_modal
from tests.wire.fake_discord.rules.permissions import Permission

if TYPE_CHECKING:
    from tests.wire.fake_discord.server import FakeDiscord

ROUTES = Routes()
_REPLY, _FOLLOWUP = 20, 19  # message types: to a command, to anything else
_MAX_FOLLOWUPS = 5  # where the application is only installed by the user
_NEW = (Callback.MESSAGE, Callback.DEFERRED_MESSAGE)
_CHANGES = (Callback.DEFERRED_UPDATE, Callback.UPDATE)
_ALLOWED = {
    Kind.COMMAND: (*_NEW, Callback.MODAL),
    Kind.COMPONENT: (*_NEW, *_CHANGES, Callback.MODAL),
    Kind.AUTOCOMPLETE: (Callback.CHOICES,),
    Kind.MODAL: (*_NEW, *_CHANGES),
}


@ROUTES.add("POST", "/interactions/{id}/{token}/callback")
async def callback(fake: FakeDiscord, call: Call) -> Json | None:
    interaction, now_s = fake.interactions.get(call.args["token"]), fake.clock.now_s()
    if interaction is None or interaction.id != call.args["id"] or interaction.is_overdue:
        raise ApiError(Problem.UNKNOWN_INTERACTION)
    if interaction.ack is not None:
        raise ApiError(Problem.ALREADY_ACKNOWLEDGED)
    kind = interaction.ack = _kind(interaction, call)  # before anything is waited for
    interaction.ack_latency_s = now_s - interaction.delivered_s
    try:
        await _act(fake, interaction, kind, call)
    except ApiError:
        interaction.ack = interaction.ack_latency_s = None
        raise
    if call.exchange.query.get("with_response") not in ("1", "true"):
        return None
    return _callback_json(fake, interaction, kind)


def _kind(interaction: Interaction, call: Call) -> Callback:
    allowed = _ALLOWED[interaction.kind]
    if interaction.source is None:
        allowed = tuple(kind for kind in allowed if kind not in _CHANGES)
    if call.json.get("type") not in allowed:
        text = f"Value must be one of {[int(kind) for kind in allowed]}."
        raise form_error("type", text, "BASE_TYPE_CHOICES")
    return Callback(call.json["type"])


async def _act(fake: FakeDiscord, interaction: Interaction, kind: Callback, call: Call) -> None:
    draft = call.draft(interaction.file_limit_bytes)
    draft.payload = draft.payload.get("data") or {}
    if kind is Callback.MODAL:
        check_modal(draft.payload)
        interaction.modal = draft.payload
    elif kind is Callback.CHOICES:
        interaction.choices = _choices(draft.payload)
    elif kind is Callback.DEFERRED_UPDATE:
        interaction.original = interaction.source
    elif kind is Callback.UPDATE:
        assert interaction.source is not None
        if interaction.source.is_deleted:
            raise ApiError(Problem.UNKNOWN_MESSAGE)
        interaction.original = interaction.source
        await fake.messages.write(interaction.source, draft)
    elif kind is Callback.DEFERRED_MESSAGE:
        if (draft.payload.get("flags") or 0) & ~EPHEMERAL:
            raise form_error("data.flags", "Only EPHEMERAL goes with a deferred message.")
        interaction.original = _blank(fake, interaction, draft.payload, LOADING)
        await fake.messages.publish(interaction.original, "MESSAGE_CREATE")
    else:
        interaction.original = _blank(fake, interaction, draft.payload, 0)
        await fake.messages.write(interaction.original, draft, is_new=True)


def _choices(data: Json) -> list[Json]:
    choices: list[Json] = data.get("choices") or []
    if len(choices) > 25 or any(not 1 <= len(choice["name"]) <= 100 for choice in choices):
        raise form_error("data.choices", "Must be 25 or fewer, of 1 to 100 characters.")
    return choices


def _blank(fake: FakeDiscord, interaction: Interaction, data: Json, flags: int) -> Message:
    is_ephemeral = (data.get("flags") or 0) & EPHEMERAL or _forces_ephemeral(interaction)
    message = fake.messages.new(interaction.channel, source=interaction)
    message.type = _REPLY if interaction.kind is Kind.COMMAND else _FOLLOWUP
    message.flags = flags | (EPHEMERAL if is_ephemeral else 0)
    message.receiver = interaction.user if is_ephemeral else None
    return message


def _forces_ephemeral(interaction: Interaction) -> bool:
    """A guild may hide what an application says that only its user has installed."""
    channel = interaction.channel
    may = channel.may(interaction.user, Permission.USE_EXTERNAL_APPS)
    return interaction.is_user_installed_only and channel.guild is not None and not may


def _callback_json(fake: FakeDiscord, interaction: Interaction, kind: Callback) -> Json:
    told: Json = {"id": interaction.id, "type": int(interaction.kind)}
    message = interaction.original
    if message is not None:
        told |= {
            "response_message_id": message.id,
            "response_message_loading": message.is_loading,
            "response_message_ephemeral": message.is_ephemeral,
        }
    if message is None or kind not in (Callback.MESSAGE, Callback.UPDATE):
        return {"interaction": told}
    resource = {"type": int(kind), "message": fake.messages.json(message)}
    return {"interaction": told, "resource": resource}


@ROUTES.add("POST", "/webhooks/{app}/{token}")
async def followup(fake: FakeDiscord, call: Call) -> Json | None:
    interaction = _interaction(fake, call)
    draft = call.draft(interaction.file_limit_bytes)
    message = interaction.original
    if message is not None and message.is_loading and not message.is_deleted:
        await fake.messages.write(
            message, draft
        )  # deprecated, but so it is: it fills the deferred reply
    else:
        if interaction.is_user_installed_only and len(interaction.followups) >= _MAX_FOLLOWUPS:
            raise ApiError(Problem.TOO_MANY_FOLLOWUPS)
        message = _blank(fake, interaction, draft.payload, 0)
        message.type = _FOLLOWUP
        await fake.messages.write(message, draft, is_new=True)
        interaction.followups.append(message)
    return fake.messages.json(message)


@ROUTES.add("GET", "/webhooks/{app}/{token}/messages/{message_id}")
async def get_reply(fake: FakeDiscord, call: Call) -> Json:
    return fake.messages.json(_reply(fake, call))


@ROUTES.add("PATCH", "/webhooks/{app}/{token}/messages/{message_id}")
async def edit_reply(fake: FakeDiscord, call: Call) -> Json:
    message = _reply(fake, call)
    fake.messages.check_old_edit(message)
    await fake.messages.write(message, call.draft(_interaction(fake, call).file_limit_bytes))
    return fake.messages.json(message)


@ROUTES.add("DELETE", "/webhooks/{app}/{token}/messages/{message_id}")
async def delete_reply(fake: FakeDiscord, call: Call) -> None:
    await fake.messages.delete(_reply(fake, call))


def _interaction(fake: FakeDiscord, call: Call) -> Interaction:
    """Return the interaction whose token opens the webhook, if it was answered and still lives."""
    interaction = fake.interactions.get(call.args["token"])
    if call.args["app"] != fake.bot.id or interaction is None or interaction.ack is None:
        raise ApiError(Problem.UNKNOWN_WEBHOOK)
    if fake.clock.now_s() - interaction.born_s > fake.rules.token_ttl_s:
        raise ApiError(Problem.INVALID_TOKEN)
    return interaction


def _reply(fake: FakeDiscord, call: Call) -> Message:
    interaction, wanted = _interaction(fake, call), call.args["message_id"]
    original = interaction.original
    messages = {message.id: message for message in (original, *interaction.followups) if message}
    message = original if wanted == "@original" else messages.get(wanted)
    if message is None or message.is_deleted:
        raise ApiError(Problem.UNKNOWN_MESSAGE)
    return message
