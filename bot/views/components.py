"""The components that messages are built of, and the layout that holds them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import discord
from discord import ButtonStyle, ui

from bot.text.markdown import shorten
from bot.views.custom_ids import CustomId

WORKING_COLOUR = 0x5B8DEF
FAILED_COLOUR = 0xC4554D
QUIET_COLOUR = 0x99A1AD
_BAR_CELLS = 6
"""Few, because screen readers name each cell."""
IN_ROW = 4
"""Buttons with short labels that stand side by side on a phone."""
_LABEL_CHARS = 100


class Layout(ui.LayoutView):
    """A message's components, without callbacks: presses are routed by their custom id.

    discord.py keeps no reference to a stopped view, so a sent message costs no memory.

    Args:
        parts: the components from top to bottom.
        files: names and bytes of the files that the components show.
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
    """Return a frame around the parts that are not None."""
    return ui.Container(*(part for part in parts if part is not None), accent_colour=colour)


def text(content: str) -> ui.TextDisplay[ui.LayoutView]:
    """Return a text component."""
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
    """Return a button; its custom id names its action."""
    return ui.Button(
        custom_id=str(custom_id), label=label, emoji=emoji, style=style, disabled=disabled
    )


def row(*buttons: ui.Button[ui.LayoutView]) -> ui.ActionRow[ui.LayoutView]:
    """Return a row of buttons."""
    return ui.ActionRow(*buttons)


def select(
    custom_id: CustomId, placeholder: str, options: Iterable[tuple[CustomId, str]]
) -> ui.ActionRow[ui.LayoutView]:
    """Return a select menu, which has a row of its own.

    Args:
        custom_id: of the menu; only its options are ever used.
        placeholder: what the menu says until an option is chosen.
        options: id and label of each, at most 25.
    """
    menu: ui.Select[ui.LayoutView] = ui.Select(
        custom_id=str(custom_id),
        placeholder=placeholder,
        options=[
            discord.SelectOption(label=shorten(label, _LABEL_CHARS), value=str(value))
            for value, label in options
        ],
    )
    return ui.ActionRow(menu)


def rows(buttons: Sequence[ui.Button[ui.LayoutView]]) -> Iterator[ui.ActionRow[ui.LayoutView]]:
    """Yield rows of buttons with short labels, of which four stand side by side on a phone."""
    for first in range(0, len(buttons), IN_ROW):
        yield row(*buttons[first : first + IN_ROW])


def gallery(
    names: Iterable[str], alt_texts: Iterable[str], spoiler: bool = False
) -> ui.MediaGallery[ui.LayoutView]:
    """Return a gallery of attached pictures, by file name."""
    items = [
        discord.MediaGalleryItem(f"attachment://{name}", description=alt, spoiler=spoiler)
        for name, alt in zip(names, alt_texts, strict=True)
    ]
    return ui.MediaGallery(*items)


def galleries(
    names: Sequence[str], alt_texts: Sequence[str], spoiler: bool = False
) -> Iterator[ui.MediaGallery[ui.LayoutView]]:
    """Yield galleries that show the pictures uncropped.

    Discord's client crops the first picture of three to a tall strip, and of seven or ten to a
    wide one.
    """
    first = 1 if len(names) in (3, 7, 10) else 0
    if first:
        yield gallery(names[:first], alt_texts[:first], spoiler)
    yield gallery(names[first:], alt_texts[first:], spoiler)


def percent(fraction: float) -> str:
    """Return a fraction, 0 to 1, as a percentage followed by a bar."""
    within = min(1.0, max(0.0, fraction))
    done = round(_BAR_CELLS * within)
    return f"{round(100 * within)} %  {'▰' * done}{'▱' * (_BAR_CELLS - done)}"


def notice(content: str, colour: int | None = None) -> Layout:
    """Return a message with text only."""
    return Layout(box([text(content)], colour))
