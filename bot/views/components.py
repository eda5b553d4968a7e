"""The pieces that layouts are built of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import discord
from discord import ButtonStyle, ui

from bot.views.custom_ids import CustomId

WORKING_COLOUR = 0x5B8DEF
FAILED_COLOUR = 0xC4554D
QUIET_COLOUR = 0x99A1AD
_BAR_CELLS = 6
"""Screen readers name each of them."""


class Layout(ui.LayoutView):
    """A message's components; nothing in here listens, for every press is routed by its id.

    A stopped view is not kept by discord.py, so messages cost no memory once they are sent.

    Args:
        parts: from top to bottom.
        files: that the parts show, to be sent along.
    """

    def __init__(
        self, *parts: ui.Item[ui.LayoutView], files: Iterable[tuple[str, bytes]] = ()
    ) -> None:
        super().__init__(timeout=None)
        self.files = tuple(files)
        for part in parts:
            self.add_item(part)
        self.stop()


def box(
    parts: Iterable[ui.Item[ui.LayoutView] | None], colour: int | None = None
) -> ui.Container[ui.LayoutView]:
    """Return a frame around the parts that are there."""
    return ui.Container(*(part for part in parts if part is not None), accent_colour=colour)


def text(content: str) -> ui.TextDisplay[ui.LayoutView]:
    """Return some text."""
    return ui.TextDisplay(content)


def small(line: str) -> str:
    """Return a line in small grey letters."""
    return f"-# {line}"


def button(
    custom_id: CustomId,
    label: str,
    emoji: str | None = None,
    style: ButtonStyle = ButtonStyle.secondary,
    disabled: bool = False,
) -> ui.Button[ui.LayoutView]:
    """Return a button that does what its id says."""
    return ui.Button(
        custom_id=str(custom_id), label=label, emoji=emoji, style=style, disabled=disabled
    )


def row(*buttons: ui.Button[ui.LayoutView]) -> ui.ActionRow[ui.LayoutView]:
    """Return a row of buttons."""
    return ui.ActionRow(*buttons)


def gallery(
    names: Iterable[str], alt_texts: Iterable[str], spoiler: bool = False
) -> ui.MediaGallery[ui.LayoutView]:
    """Return pictures that are sent along, by file name."""
    items = [
        discord.MediaGalleryItem(f"attachment://{name}", description=alt, spoiler=spoiler)
        for name, alt in zip(names, alt_texts, strict=True)
    ]
    return ui.MediaGallery(*items)


def galleries(
    names: Sequence[str], alt_texts: Sequence[str], spoiler: bool = False
) -> Iterator[ui.MediaGallery[ui.LayoutView]]:
    """Yield pictures in as many galleries as it takes for none to be cropped.

    Of three in one gallery, Discord's client crops the first to a tall strip.
    """
    first = 1 if len(names) == 3 else 0
    if first:
        yield gallery(names[:first], alt_texts[:first], spoiler)
    yield gallery(names[first:], alt_texts[first:], spoiler)


def percent(fraction: float) -> str:
    """Return a progress between 0 and 1 as percent with a bar: the number comes first."""
    within = min(1.0, max(0.0, fraction))
    done = round(_BAR_CELLS * within)
    return f"{round(100 * within)} %  {'▰' * done}{'▱' * (_BAR_CELLS - done)}"


def notice(content: str, colour: int | None = None) -> Layout:
    """Return a message of words alone."""
    return Layout(box([text(content)], colour))
