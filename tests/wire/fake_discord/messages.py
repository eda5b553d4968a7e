"""Messages and files as they are kept, as they are sent, and as people see them."""

from __future__ import annotations

import copy
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from PIL import Image, UnidentifiedImageError

from tests.wire.fake_discord.clock import iso
from tests.wire.fake_discord.world import Channel, User

if TYPE_CHECKING:
    from tests.wire.fake_discord.interactions import Interaction

EPHEMERAL = 1 << 6
LOADING = 1 << 7
COMPONENTS_V2 = 1 << 15
BUTTON = 2
TEXT_DISPLAY = 10

Json = dict[str, Any]


@dataclass(frozen=True)
class Upload:
    """A file on its way to Discord."""

    filename: str
    content: bytes
    content_type: str = "application/octet-stream"


@dataclass(eq=False)
class Attachment:
    """A file that Discord keeps; its URL is good until ``ttl_s`` after it was last asked for."""

    id: str
    channel_id: str
    upload: Upload
    description: str | None = None
    is_ephemeral: bool = False
    size_px: tuple[int, int] | None = None

    @property
    def filename(self) -> str:
        """Its name."""
        return self.upload.filename

    @property
    def content(self) -> bytes:
        """Its bytes."""
        return self.upload.content

    @property
    def path(self) -> str:
        """Its path on the content network."""
        return f"/attachments/{self.channel_id}/{self.id}/{self.filename}"

    def json(self, cdn_url: str, expires_s: float) -> Json:
        """Return the attachment with a URL that expires at a time."""
        url = f"{cdn_url}{self.path}?ex={int(expires_s):x}&is=0&hm=0"
        found: Json = {
            "id": self.id,
            "filename": self.filename,
            "size": len(self.content),
            "url": url,
            "proxy_url": url,
            "content_type": self.upload.content_type,
        }
        if self.size_px:
            found |= {"width": self.size_px[0], "height": self.size_px[1]}
        if self.description is not None:
            found["description"] = self.description
        return found | ({"ephemeral": True} if self.is_ephemeral else {})


def inspect(upload: Upload) -> tuple[Upload, tuple[int, int] | None]:
    """Return a file with the type that its bytes have, and its size in pixels if it is a picture.

    discord.py names every file a stream of octets; Discord looks inside.
    """
    try:
        with Image.open(io.BytesIO(upload.content)) as picture:
            kind = Image.MIME[picture.format or ""]
            return Upload(upload.filename, upload.content, kind), picture.size
    except UnidentifiedImageError:
        return upload, None


def walk(components: list[Json] | None) -> Iterator[Json]:
    """Yield components and all that is in them, outer ones first."""
    for component in components or []:
        yield component
        yield from walk(component.get("components"))
        for name in ("accessory", "component"):
            if name in component:
                yield from walk([component[name]])


def media_of(part: Json) -> list[Json]:
    """Return the media that a component or an embed shows."""
    items = [item["media"] for item in part.get("items", [])]
    names = ("media", "file", "image", "thumbnail")
    return items + [part[name] for name in names if part.get(name)]


@dataclass(frozen=True)
class Snapshot:
    """What a message looked like from some time on."""

    at_s: float
    text: str
    filenames: tuple[str, ...]
    buttons: tuple[str, ...]


@dataclass(eq=False)
class Message:
    """A message as it is now.

    Attributes:
        receiver: the only person that sees it, if it is ephemeral.
        source: the interaction that it answers.
        nonce: the application's own name for it.
        calls: ids of the notified users, or ``everyone`` and ``here``.
        history: what it looked like after each change, the last one being now.
    """

    id: str
    channel: Channel
    author: User
    created_s: float
    type: int = 0
    flags: int = 0
    content: str = ""
    embeds: list[Json] = field(default_factory=list)
    components: list[Json] = field(default_factory=list)
    attachments: list[Attachment] = field(default_factory=list)
    edited_s: float | None = None
    is_deleted: bool = False
    receiver: User | None = None
    source: Interaction | None = None
    nonce: str | None = None
    calls: set[str] = field(default_factory=set)
    history: list[Snapshot] = field(default_factory=list)

    @property
    def is_ephemeral(self) -> bool:
        """Only its receiver sees it."""
        return bool(self.flags & EPHEMERAL)

    @property
    def is_loading(self) -> bool:
        """It says that the application is thinking."""
        return bool(self.flags & LOADING)

    @property
    def is_v2(self) -> bool:
        """It is made of components alone."""
        return bool(self.flags & COMPONENTS_V2)

    @property
    def text(self) -> str:
        """All text that is shown, one piece a line."""
        embeds = [part for e in self.embeds for part in (e.get("title"), e.get("description"))]
        shown = [c["content"] for c in walk(self.components) if c["type"] == TEXT_DISPLAY]
        return "\n".join(part for part in (self.content, *embeds, *shown) if part)

    @property
    def buttons(self) -> dict[str, Json]:
        """The buttons by label, or by custom id where they have only an emoji."""
        found = [c for c in walk(self.components) if c["type"] == BUTTON]
        return {b.get("label") or b.get("custom_id") or b["url"]: b for b in found}

    @property
    def files(self) -> dict[str, bytes]:
        """The bytes of all attached files by name."""
        return {attachment.filename: attachment.content for attachment in self.attachments}

    @property
    def shown(self) -> list[Attachment]:
        """What people see of the attachments: in a V2 message those that a component shows."""
        if not self.is_v2:
            return self.attachments
        media = [m for c in walk(self.components) for m in media_of(c)]
        by_id = {attachment.id: attachment for attachment in self.attachments}
        return [by_id[m["attachment_id"]] for m in media if m.get("attachment_id") in by_id]

    def component(self, custom_id: str) -> Json | None:
        """Return the component with a custom id."""
        found = (c for c in walk(self.components) if c.get("custom_id") == custom_id)
        return next(found, None)

    def remember(self, at_s: float) -> None:
        """Add what the message looks like now to its history."""
        names = tuple(attachment.filename for attachment in self.attachments)
        self.history.append(Snapshot(at_s, self.text, names, tuple(self.buttons)))

    def json(self, cdn_url: str, url_expires_s: float) -> Json:
        """Return the message as it is sent to the application."""
        attachments = [a.json(cdn_url, url_expires_s) for a in self.attachments]
        found: Json = {
            "id": self.id,
            "channel_id": self.channel.id,
            "author": self.author.json(),
            "type": self.type,
            "flags": self.flags,
            "content": self.content,
            "timestamp": iso(self.created_s),
            "edited_timestamp": iso(self.edited_s) if self.edited_s else None,
            "embeds": _with_urls(self.embeds, attachments),
            "components": _with_urls(self.components, attachments),
            "attachments": attachments,
            "tts": False,
            "mention_everyone": False,
            "mentions": [],
            "mention_roles": [],
            "pinned": False,
        }
        found |= {} if self.nonce is None else {"nonce": self.nonce}
        return found | (self._origin_json() if self.source else {})

    def _origin_json(self) -> Json:
        assert self.source is not None
        application_id = self.author.id
        metadata = self.source.metadata_json()
        return {
            "application_id": application_id,
            "webhook_id": application_id,
            "interaction_metadata": metadata,
        }


def _with_urls(parts: list[Json], attachments: list[Json]) -> list[Json]:
    shown, by_id = copy.deepcopy(parts), {a["id"]: a for a in attachments}
    for media in (m for part in walk(shown) for m in media_of(part)):
        names = ("id", "url", "proxy_url", "width", "height", "content_type")
        known = by_id.get(media.get("attachment_id", ""), {"id": "0", "proxy_url": media["url"]})
        media |= {name: known[name] for name in names if name in known}
    return shown
