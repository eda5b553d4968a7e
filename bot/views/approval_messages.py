"""The messages about approval: a picture that waits for a decision, a decision, approved ones."""

from __future__ import annotations

from collections.abc import Sequence

from discord import ButtonStyle, ui

from bot.service.assets import Asset
from bot.text.catalog import Translator
from bot.text.markdown import escape, shorten
from bot.views.attachments import PictureFile
from bot.views.components import (
    FAILED_COLOUR,
    WORKING_COLOUR,
    Layout,
    box,
    button,
    galleries,
    gallery,
    row,
    small,
    text,
)
from bot.views.custom_ids import CustomId
from bot.views.picture_messages import short

_DONE_COLOUR = 0x4C9A62
_LINE_CHARS = 100


def waiting(
    translate: Translator, asset: Asset, person_id: int, file: PictureFile, *, spoiler: bool
) -> Layout:
    """Return the message of a picture that waits for a decision.

    Args:
        translate: translates into the server's language.
        asset: the picture, of the version that it has once it is submitted.
        person_id: of the person that submits it.
        file: the picture.
        spoiler: hide it until it is clicked.
    """
    version = str(asset.version)
    heading = translate("approval.waiting", person=f"<@{person_id}>")
    approve, reject = CustomId("approve", asset.id, version), CustomId("reject", asset.id, version)
    return Layout(
        box(_parts(translate, asset, [f"### {heading}"], file, spoiler), WORKING_COLOUR),
        row(
            button(approve, translate("button.approve"), "✅", ButtonStyle.success),
            button(reject, translate("button.reject"), "✏️"),
        ),
        files=[(file.name, file.data)],
    )


def decided(translate: Translator, asset: Asset, file: PictureFile, *, spoiler: bool) -> Layout:
    """Return the message of a picture as it is, without buttons."""
    lines = [f"### {translate(f'approval.state_{asset.state}')}"]
    if asset.decided_by or asset.decider:
        lines.append(translate("approval.by", person=_decider(asset)))
    if asset.note:
        lines.append(f"> {escape(shorten(' '.join(asset.note.split()), _LINE_CHARS * 4))}")
    colours = {"approved": _DONE_COLOUR, "published": _DONE_COLOUR, "rejected": FAILED_COLOUR}
    parts = _parts(translate, asset, lines, file, spoiler)
    return Layout(box(parts, colours.get(asset.state)), files=[(file.name, file.data)])


def told(translate: Translator, asset: Asset, link: str) -> Layout:
    """Return what a person reads about a decision on a picture; ``link``: to its message."""
    key = "approval.told_approved" if asset.state == "approved" else "approval.told_rejected"
    lines = [translate(key, prompt=f"**{short(asset.prompt)}**", link=link)]
    if asset.note:
        lines.append(f"> {escape(shorten(' '.join(asset.note.split()), _LINE_CHARS * 4))}")
    return Layout(box([text("\n".join(lines))]))


def approved(
    translate: Translator,
    assets: Sequence[Asset],
    thumbnails: Sequence[tuple[str, bytes]],
    next_cursor: str,
) -> Layout:
    """Return a page of a server's approved pictures; an empty cursor: there are no more."""
    if not assets:
        return Layout(box([text(translate("approval.none"))]))
    lines = [
        f"{small(f'{number} · {escape(shorten(asset.prompt, _LINE_CHARS))}')}\n"
        f"{small(_people(translate, asset))}"
        for number, asset in enumerate(assets, 1)
    ]
    alts = [f"{number}: {asset.prompt}" for number, asset in enumerate(assets, 1)]
    shown = galleries([name for name, _ in thumbnails], alts)
    older = CustomId("approved", next_cursor or "none")
    return Layout(
        box([text(f"### {translate('approval.title')}"), *shown, text("\n".join(lines))]),
        *([row(button(older, translate("button.older"), "▶️"))] if next_cursor else ()),
        files=thumbnails,
    )


def _parts(
    translate: Translator, asset: Asset, lines: Sequence[str], file: PictureFile, spoiler: bool
) -> list[ui.Item[ui.LayoutView]]:
    made = small(f"{translate('result.seed', seed=asset.seed)} · `{asset.id}`")
    told = "\n".join([*lines, f"**{short(asset.prompt)}**", made])
    return [text(told), gallery([file.name], [asset.prompt], spoiler)]


def _people(translate: Translator, asset: Asset) -> str:
    maker = _person(asset.submitted_by) or "?"
    return translate("approval.people", maker=maker, decider=_decider(asset))


def _decider(asset: Asset) -> str:
    return _person(asset.decided_by) or escape(asset.decider)


def _person(user: str | None) -> str:
    """Return the mention of a person; empty for one that is not of Discord."""
    name, _, number = (user or "").partition(":")
    return f"<@{number}>" if name == "discord" and number.isdecimal() else escape(user or "")
