"""The private menus of a picture's message, *Vary…* and *More…*.

A press in a menu does not tell of the picture's message, so each id says whether that message was
private; see :class:`bot.views.custom_ids.CustomId`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from discord import ButtonStyle

from bot.service.models import Job
from bot.text.catalog import Translator
from bot.views.components import Layout, box, button, row, rows, text
from bot.views.custom_ids import Action, CustomId, Visibility

VARIANTS: Sequence[Action] = ("subtle", "strong")


def variants(translate: Translator, job: Job, seen: Visibility) -> Layout:
    """Return the menu of *Vary…* for the pictures of a job; ``seen``: of their own message."""
    lines = {action: _line(translate, action) for action in VARIANTS}
    return Layout(*_choices(translate, translate("menu.variants"), lines, job, seen, ()))


def options(
    translate: Translator,
    job: Job,
    seen: Visibility,
    larger: tuple[int, int] | None,
    finer_steps: int | None,
) -> Layout:
    """Return the menu of *More…*.

    Args:
        translate: translates into the person's language.
        job: a job with at least one picture.
        seen: the visibility of the pictures' own message.
        larger: the (width, height) of *Larger* in pixels; None: it is not offered.
        finer_steps: the decoder steps of *Finer*; None: it is not offered.
    """
    lines: dict[Action, str] = {}
    if larger is not None:
        lines["larger"] = _line(translate, "larger", width=larger[0], height=larger[1])
    if finer_steps is not None:
        earlier = job.request.decoder_steps
        lines["finer"] = _line(translate, "finer", steps=finer_steps, earlier=earlier)
    whole = [
        button(CustomId("reroll", job.id, seen), translate("button.reroll"), "🎲"),
        button(CustomId("info", job.id, seen), translate("button.info"), "ℹ️"),  # noqa: RUF001
    ]
    return Layout(*_choices(translate, translate("menu.options"), lines, job, seen, whole))


def _choices(
    translate: Translator,
    title: str,
    lines: Mapping[Action, str],
    job: Job,
    seen: Visibility,
    whole: Sequence[Any],
) -> Iterator[Any]:
    """Yield what actions do and their buttons; with several pictures, a row of numbers for each.

    Args:
        translate: translates into the person's language.
        title: of the menu.
        lines: what each action on one picture does.
        job: the job of the pictures.
        seen: the visibility of their own message.
        whole: buttons for all pictures together.
    """
    heading = f"### {title}"
    if len(job.images) == 1:
        index = job.images[0].index
        yield box([text("\n".join([heading, *lines.values()]))])
        ids = {action: CustomId(action, job.id, f"{index}.{seen}") for action in lines}
        labelled = [
            button(custom_id, translate(f"button.{action}"), style=ButtonStyle.primary)
            for action, custom_id in ids.items()
        ]
        yield row(*labelled, *whole)
        return
    yield text(heading)
    for action, line in lines.items():
        numbers = [
            button(CustomId(action, job.id, f"{image.index}.{seen}"), str(place))
            for place, image in enumerate(job.images, 1)
        ]
        yield text(line)
        yield from rows(numbers)  # in a frame, four would not stand side by side on a phone
    if whole:
        yield row(*whole)


def _line(translate: Translator, action: Action, **values: object) -> str:
    return f"**{translate(f'button.{action}')}** {translate(f'menu.{action}', **values)}"
