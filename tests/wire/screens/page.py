"""Messages that went over the wire, as a page that looks like Discord's client."""

from __future__ import annotations

import copy
import html
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from tests.wire.fake_discord.interactions import Interaction, Kind
from tests.wire.fake_discord.messages import Json, Message
from tests.wire.screens.markdown import Markdown

DESKTOP_PX, PHONE_PX = 640, 390
"""Windows in which the message column is as wide as on a desktop, and on a phone."""

_CSS = (Path(__file__).parent / "style.css").read_text("utf-8")
_RADIO, _CHECKBOX = 21, 23
_ALONE = {"en": "Only you can see this", "de": "Nur du kannst diese Nachricht sehen"}


@dataclass(frozen=True)
class Seen:
    """What a person sees of a message at one moment.

    Attributes:
        components: as Discord was sent them, with the URLs that it gave to files.
        files: bytes by name.
        origin: what the message answers, as HTML; empty: nothing.
        pressed: custom id of the button under a finger.
    """

    components: list[Json]
    files: dict[str, bytes]
    now_s: float
    origin: str = ""
    is_private: bool = False
    locale: str = "en-US"
    channels: dict[str, str] = field(default_factory=dict)
    users: dict[str, str] = field(default_factory=dict)
    pressed: str = ""


def seen(message: Message, locale: str = "en-US", pressed: str = "") -> Seen:
    """Return what a message looks like now in a client with a locale."""
    source = message.source
    assert source is not None
    return Seen(
        copy.deepcopy(message.json("", 0)["components"]),
        message.files,
        source.fake.clock.now_s(),
        _origin(source),
        message.is_ephemeral,
        locale,
        {channel.id: channel.name for channel in source.fake.channels},
        {source.user.id: source.user.name},
        pressed,
    )


def page(
    parts: Sequence[str], *, phone: bool = False, bottom: bool = False, light: bool = False
) -> str:
    """Return a page of messages.

    Args:
        parts: from top to bottom.
        phone: as wide as on a phone.
        bottom: its window is full and shows the last parts.
        light: in the client's light theme.
    """
    classes = f"{'phone' * phone} {'bottom' * bottom} {'light' * light}"
    style = f"<meta charset=utf-8><style>{_CSS}</style>"
    return f"<!doctype html>{style}<main class='{classes}'>{''.join(parts)}</main>"


def message_html(one: Seen) -> str:
    """Return a message with its sender and the message it answers."""
    view = _View(one)
    at = datetime.fromtimestamp(one.now_s, UTC)
    shown = "".join(map(view.part, one.components))
    alone = _ALONE["de" if one.locale.startswith("de") else "en"]
    below = f"<div class=alone>👁 {alone} · <a>✕</a></div>" if one.is_private else ""
    return (
        f"<article class={'private' if one.is_private else 'public'}>{one.origin}"
        f"<div class=avatar>C</div><header><b>cascade</b><span class=app>APP</span>"
        f"<time>{at:%H:%M}</time></header>{shown}{below}</article>"
    )


def modal_html(modal: Json) -> str:
    """Return a form that is open."""
    fields = []
    for label in modal["components"]:
        entry = label["component"]
        is_required = entry.get("required", entry["type"] != _CHECKBOX)
        must = "<i> *</i>" if is_required else ""
        fields.append(f"<label>{html.escape(label['label'])}{must}</label>")
        if told := label.get("description"):
            fields.append(f"<small>{html.escape(told)}</small>")
        fields.append(_ENTRIES.get(entry["type"], _field)(entry))
    ends = "<div class=row><button>Cancel</button><button class=s1>Submit</button></div>"
    return f"<div class=modal><h2>{html.escape(modal['title'])}</h2>{''.join(fields)}{ends}</div>"


def _select(node: Json) -> str:
    return f"<div class=select>{html.escape(node['placeholder'])}<span>⌄</span></div>"


def _field(entry: Json) -> str:
    size = "long" if entry["style"] == 2 else "short"
    return f"<div class='field {size}'>{html.escape(entry.get('value') or '')}</div>"


def _radio(entry: Json) -> str:
    options = "".join(f"<p>○ {html.escape(one['label'])}</p>" for one in entry["options"])
    return f"<div class=radio>{options}</div>"


def _checkbox(entry: Json) -> str:
    return f"<div class=radio><p>{'☑' if entry.get('default') else '☐'}</p></div>"


_ENTRIES = {_RADIO: _radio, _CHECKBOX: _checkbox}


def composer_html(command: str = "", **options: str) -> str:
    """Return the line that people type into."""
    if not command:
        return "<div class=composer>Message #general</div>"
    typed = "".join(
        f" <kbd><em>{name}</em> {html.escape(text)}</kbd>" for name, text in options.items()
    )
    return f"<div class=composer><b>/{command}</b>{typed}</div>"


def _origin(source: Interaction) -> str:
    """Return what the client writes above an answer: the command, or the message it belongs to."""
    is_command = source.kind is Kind.COMMAND
    name = source.user.name if is_command else "cascade"
    said = f"used <a>/{source.data['name']}</a>" if is_command else "<em>🖼️ picture</em>"
    avatar = f"<span class='avatar tiny'>{name[0].upper()}</span>"
    return f"<div class=origin>{avatar} <b>{name}</b> {said}</div>"


class _View:
    """Shows components, each kind in its own method."""

    def __init__(self, one: Seen) -> None:
        self._one = one
        self._text = Markdown(one.now_s, one.locale, one.channels, one.users)
        self._kinds = {
            1: self._row,
            2: self._button,
            3: _select,
            9: self._section,
            10: lambda node: f"<div>{self._text(node['content'])}</div>",
            12: self._gallery,
            13: self._file,
            14: lambda _: "<hr>",
            17: self._container,
        }

    def part(self, node: Json) -> str:
        """Return a component with all that is in it.

        Raises:
            KeyError: it is of a kind that the bot has not used before.
        """
        return self._kinds[node["type"]](node)

    def _parts(self, node: Json) -> str:
        return "".join(map(self.part, node["components"]))

    def _row(self, node: Json) -> str:
        return f"<div class=row>{self._parts(node)}</div>"

    def _container(self, node: Json) -> str:
        colour = node.get("accent_color")
        accent = "" if colour is None else f" style='--accent:#{colour:06x}'"
        return f"<div class=container{accent}>{self._parts(node)}</div>"

    def _section(self, node: Json) -> str:
        beside = self.part(node["accessory"])
        return f"<div class=section><div>{self._parts(node)}</div>{beside}</div>"

    def _button(self, node: Json) -> str:
        pressed = "pressed" * (self._one.pressed == node.get("custom_id"))
        disabled = " disabled" * bool(node.get("disabled"))
        emoji = (node.get("emoji") or {}).get("name") or ""
        label = html.escape(node.get("label") or "")
        return f"<button class='s{node['style']} {pressed}'{disabled}>{emoji} {label}</button>"

    def _gallery(self, node: Json) -> str:
        items = [
            f"<div class={'hidden' if item.get('spoiler') else 'open'}>"
            f"<img src='{self._data_url(item['media'])}'></div>"
            for item in node["items"]
        ]
        return f"<div class='gallery n{len(items)}'>{''.join(items)}</div>"

    def _file(self, node: Json) -> str:
        name = _name(node["file"])
        size = f"{len(self._one.files[name]) / 1024:.1f} KB"
        return f"<div class=file><p>📄 <a>{html.escape(name)}</a></p><small>{size}</small></div>"

    def _data_url(self, media: Json) -> str:
        return f"data:image;base64,{b64encode(self._one.files[_name(media)]).decode()}"


def _name(media: Json) -> str:
    """Return the name of a file by its URL, Discord's or one that it was not sent to yet."""
    return str(media["url"]).partition("?")[0].rpartition("/")[2]
