"""Applying what the application sends to a message, by Discord's rules."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.wire.fake_discord.errors import ApiError, Problem, form_error
from tests.wire.fake_discord.messages import (
    COMPONENTS_V2,
    EPHEMERAL,
    LOADING,
    Attachment,
    Json,
    Message,
    Upload,
    media_of,
    walk,
)
from tests.wire.fake_discord.rules.components import FILE, check_media, check_message, complete
from tests.wire.fake_discord.rules.mentions import called_by

_SUPPRESS_EMBEDS, _SUPPRESS_NOTIFICATIONS = 1 << 2, 1 << 12
_MAX_CONTENT, _MAX_EMBEDS, _MAX_EMBED_TEXT, _MAX_FILES = 2000, 10, 6000, 10
_LEGACY = "MESSAGE_CANNOT_USE_LEGACY_FIELDS_WITH_COMPONENTS_V2"


@dataclass
class Draft:
    """What the application sent: JSON and files by their number."""

    payload: Json = field(default_factory=dict)
    files: dict[int, Upload] = field(default_factory=dict)


StoreFile = Callable[[Upload, str | None], Attachment]


def write(message: Message, draft: Draft, store: StoreFile, is_new: bool) -> None:
    """Change a message; it stays as it was if a rule is broken.

    Raises:
        ApiError: the message would break one of Discord's rules.
    """
    payload, is_first = copy.deepcopy(draft.payload), is_new or message.is_loading
    flags = _flags(message, payload, is_new)
    content = payload.get("content", message.content) or ""
    embeds = payload.get("embeds", message.embeds) or []
    components = payload.get("components", message.components) or []
    _check_text(content, embeds)
    check_message(components, bool(flags & COMPONENTS_V2))
    if flags & COMPONENTS_V2 and (content or embeds):
        name = "content" if content else "embeds"
        text = f"The '{name}' field cannot be used when using MessageFlags.IS_COMPONENTS_V2"
        raise form_error(name, text, _LEGACY)
    attachments = _attachments(message, payload, draft.files, store)
    check_media(components, {attachment.filename for attachment in attachments})
    if not (content or embeds or attachments or components):
        raise ApiError(Problem.EMPTY_MESSAGE)
    _link(components, embeds, attachments)
    complete(components)
    message.content, message.embeds, message.components = content, embeds, components
    message.attachments, message.flags = attachments, flags
    if is_first:  # a later edit notifies no person
        message.calls = called_by(message.text, payload)


def _flags(message: Message, payload: Json, is_new: bool) -> int:
    allowed = COMPONENTS_V2 | _SUPPRESS_EMBEDS
    if is_new:
        allowed |= EPHEMERAL | _SUPPRESS_NOTIFICATIONS
    return (message.flags & ~LOADING) | ((payload.get("flags") or 0) & allowed)


def _check_text(content: str, embeds: list[Json]) -> None:
    if len(content) > _MAX_CONTENT:
        raise form_error("content", f"Must be {_MAX_CONTENT} or fewer in length.")
    if len(embeds) > _MAX_EMBEDS:
        raise form_error("embeds", f"Must be {_MAX_EMBEDS} or fewer in length.")
    texts = [e.get("title") or "" for e in embeds] + [e.get("description") or "" for e in embeds]
    texts += [f["name"] + f["value"] for e in embeds for f in e.get("fields", [])]
    if sum(map(len, texts)) > _MAX_EMBED_TEXT:
        text = f"Embed size exceeds maximum size of {_MAX_EMBED_TEXT}"
        raise form_error("embeds", text, "MAX_EMBED_SIZE_EXCEEDED")


def _attachments(
    message: Message, payload: Json, files: dict[int, Upload], store: StoreFile
) -> list[Attachment]:
    kept = message.attachments
    listed = {str(item["id"]): item for item in payload.get("attachments") or []}
    if "attachments" in payload:
        kept = [attachment for attachment in kept if attachment.id in listed]
    if len(kept) + len(files) > _MAX_FILES:
        raise ApiError(Problem.TOO_MANY_ATTACHMENTS)
    new = []
    for index, upload in sorted(files.items()):
        told = listed.get(str(index), {})
        named = Upload(told.get("filename") or upload.filename, upload.content)
        new.append(store(named, told.get("description")))
    return kept + new


def _link(components: list[Json], embeds: list[Json], attachments: list[Attachment]) -> None:
    """Put an attachment's id where a component or an embed names its file."""
    by_url = {f"attachment://{attachment.filename}": attachment for attachment in attachments}
    for part in (*walk(components), *embeds):
        for media in media_of(part):
            if attachment := by_url.get(media.get("url", "")):
                media["attachment_id"] = attachment.id
                if part.get("type") == FILE:
                    part |= {"name": attachment.filename, "size": len(attachment.content)}
    for embed in embeds:
        embed.setdefault("type", "rich")


def size_of(draft: Draft) -> int:
    """Return how many bytes a request has, roughly."""
    sizes = [len(upload.content) for upload in draft.files.values()]
    return sum(sizes) + len(json.dumps(draft.payload))
