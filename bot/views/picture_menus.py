"""The private menus of a picture's message: *Vary…*, *More…*, and one for each of many pictures.

A press in a menu does not tell of the picture's message, so each id says whether that message was
private; see :class:`bot.views.custom_ids.CustomId`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from discord import ButtonStyle

from bot.service.models import Image, Job
from bot.text.catalog import Translator
from bot.text.markdown import escape, shorten
from bot.views.components import IN_ROW, Layout, box, button, row, rows, text
from bot.views.custom_ids import Action, CustomId, Visibility
from bot.views.picture_buttons import picture_label, picture_select

_LABEL_CHARS = 70
VARIANTS: Sequence[Action] = ("subtle", "strong")


@dataclass(frozen=True, slots=True, kw_only=True)
class Offers:
    """What the service's model can do with a picture.

    Attributes:
        variants: vary its composition.
        larger: the (width, height) of *Larger* in pixels; None: it is not offered.
        finer_steps: the decoder steps of *Finer*; None: it is not offered.
        series: make a series that keeps its composition.
        approval: submit it to the approval channel of the server.
    """

    variants: bool = False
    larger: tuple[int, int] | None = None
    finer_steps: int | None = None
    series: bool = False
    approval: bool = False


def variants(translate: Translator, job: Job, seen: Visibility) -> Layout:
    """Return the menu of *Vary…* for the pictures of a job; ``seen``: of their own message."""
    heading = f"### {translate('menu.variants')}"
    if len(job.images) == 1:
        lines = (_line(translate, action) for action in VARIANTS)
        made = _made_of(translate, job, job.images[0], seen, VARIANTS)
        return Layout(box([text("\n".join([heading, *lines]))]), row(*made))
    if len(job.images) > IN_ROW:
        return Layout(text(heading), picture_select(translate, job, seen))
    parts: list[Any] = [text(heading)]
    for action in VARIANTS:
        numbers = [
            button(CustomId(action, job.id, f"{image.index}.{seen}"), str(place))
            for place, image in enumerate(job.images, 1)
        ]
        # In a frame, four would not stand side by side on a phone.
        parts += [text(_line(translate, action)), *rows(numbers)]
    return Layout(*parts)


def options(translate: Translator, job: Job, seen: Visibility, offers: Offers) -> Layout:
    """Return the menu of *More…*; under several pictures it leads to the menu of each.

    Args:
        translate: translates into the person's language.
        job: a job with at least one picture.
        seen: the visibility of the pictures' own message.
        offers: what the model can do with the first picture.
    """
    key = "menu.options" if len(job.images) == 1 else "menu.options_several"
    heading = f"### {translate(key)}"
    whole: list[tuple[Action, str | None]] = [("reroll", "🎲"), ("info", "ℹ️")]  # noqa: RUF001
    if offers.series:
        whole = [("hero", None), *whole]
    buttons = [
        button(CustomId(action, job.id, seen), translate(f"button.{action}"), emoji)
        for action, emoji in whole
    ]
    about_series = [_line(translate, "hero")] if offers.series else []
    if len(job.images) > 1:
        chosen = picture_select(translate, job, seen)
        return Layout(text(heading), chosen, *map(text, about_series), row(*buttons))
    drawn = _drawn(translate, job, offers)
    about_approval = [_line(translate, "submit")] if offers.approval else []
    told = text("\n".join([heading, *drawn.values(), *about_series, *about_approval]))
    made = list(_made_of(translate, job, job.images[0], seen, drawn))
    if offers.approval:
        buttons.append(_submit(translate, job, job.images[0], seen))
    return Layout(box([told]), *([row(*made)] if made else ()), row(*buttons))


def picture(
    translate: Translator, job: Job, image: Image, seen: Visibility, offers: Offers
) -> Layout:
    """Return the menu of one of several pictures.

    Args:
        translate: translates into the person's language.
        job: the job of the pictures.
        image: the picture.
        seen: the visibility of the pictures' own message.
        offers: what the model can do with the picture.
    """
    label = escape(shorten(picture_label(job, image), _LABEL_CHARS))
    heading = f"### {translate('menu.picture', label=label)}"
    first: list[Action] = ["vary", *(VARIANTS if offers.variants else ())]
    drawn = _drawn(translate, job, offers)
    lines = [*(_line(translate, action) for action in first), *drawn.values()]
    if offers.approval:
        lines.append(_line(translate, "submit"))
    parts: list[Any] = [box([text("\n".join([heading, *lines]))])]
    for actions in (first, list(drawn)):
        if actions:
            parts.append(row(*_made_of(translate, job, image, seen, actions)))
    if offers.approval:
        parts.append(row(_submit(translate, job, image, seen)))
    return Layout(*parts)


def _submit(translate: Translator, job: Job, image: Image, seen: Visibility) -> Any:
    custom_id = CustomId("submit", job.id, f"{image.index}.{seen}")
    return button(custom_id, translate("button.submit"), "📨")


def _drawn(translate: Translator, job: Job, offers: Offers) -> dict[Action, str]:
    """Return how the model can draw a picture again, and what each way does."""
    lines: dict[Action, str] = {}
    if offers.larger is not None:
        width, height = offers.larger
        lines["larger"] = _line(translate, "larger", width=width, height=height)
    if offers.finer_steps is not None:
        earlier = job.request.decoder_steps
        lines["finer"] = _line(translate, "finer", steps=offers.finer_steps, earlier=earlier)
    return lines


def _made_of(
    translate: Translator, job: Job, image: Image, seen: Visibility, actions: Iterable[Action]
) -> Iterator[Any]:
    """Yield a button for each action that makes something of a picture."""
    for action in actions:
        custom_id = CustomId(action, job.id, f"{image.index}.{seen}")
        yield button(custom_id, translate(f"button.{action}"), style=ButtonStyle.primary)


def _line(translate: Translator, action: Action, **values: object) -> str:
    return f"**{translate(f'button.{action}')}** {translate(f'menu.{action}', **values)}"
