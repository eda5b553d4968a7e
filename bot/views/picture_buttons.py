"""The rows under a job's pictures: buttons, and a select menu where numbers take too many rows.

A phone shows four short buttons side by side, and a message has two rows at most. So up to four
pictures have numbers, and more are chosen from a select menu.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from discord import ButtonStyle

from bot.policy.series import label_of
from bot.service.models import Image, Job
from bot.text.catalog import Translator
from bot.views.components import IN_ROW, button, row, rows, select, small, text
from bot.views.custom_ids import Action, CustomId, Visibility

_EMOJI: Mapping[Action, str] = {"edit": "✏️", "delete": "🗑️"}


def result_rows(translate: Translator, job: Job) -> Iterator[Any]:
    """Yield the rows under finished pictures, which are numbered by position."""
    indices = [image.index for image in job.images]
    if len(indices) == 1:
        vary = CustomId("vary", job.id, str(indices[0]))
        yield row(
            button(vary, translate("button.vary"), "✨", ButtonStyle.primary),
            *_buttons(translate, job, "variants", "edit", "options", "delete"),
        )
    elif len(indices) <= IN_ROW:
        yield text(small(f"✨ V1–V{len(indices)}: {translate('button.vary')}"))  # noqa: RUF001
        yield from rows(
            [
                button(CustomId("vary", job.id, str(index)), f"V{place}")
                for place, index in enumerate(indices, 1)
            ]
        )
        yield row(*_buttons(translate, job, "variants", "edit", "options", "delete"))
    else:
        yield picture_select(translate, job)
        yield row(*_buttons(translate, job, "edit", "options", "delete"))


def delete_rows(translate: Translator, job: Job) -> Iterator[Any]:
    """Yield the rows that ask which of a job's pictures to delete."""
    danger = ButtonStyle.danger
    yield text(translate("delete.which"))
    numbered = {CustomId("erase", job.id, str(image.index)): image for image in job.images}
    if len(job.images) <= IN_ROW:
        yield from rows(
            [
                button(custom_id, str(place), "🗑️", danger)
                for place, custom_id in enumerate(numbered, 1)
            ]
        )
    else:
        options = [(custom_id, picture_label(job, image)) for custom_id, image in numbered.items()]
        yield select(CustomId("erase", job.id), translate("select.picture"), options)
    yield row(
        button(CustomId("erase", job.id, "all"), translate("button.delete_all"), "🗑️", danger),
        button(CustomId("erase", job.id, "none"), translate("button.cancel")),
    )


def picture_select(translate: Translator, job: Job, seen: Visibility | None = None) -> Any:
    """Return the select menu that opens the menu of one of a job's pictures.

    Args:
        translate: translates into the language of the message.
        job: the job of the pictures.
        seen: the visibility of the pictures' own message; None: the select menu is in it.
    """
    end = "" if seen is None else f".{seen}"
    options = [
        (CustomId("choose", job.id, f"{image.index}{end}"), picture_label(job, image))
        for image in job.images
    ]
    return select(CustomId("choose", job.id), translate("select.picture"), options)


def picture_label(job: Job, image: Image) -> str:
    """Return the number of one of a job's pictures and, in a series, what sets it apart."""
    place, request = job.images.index(image) + 1, job.request
    if request.variants is None:
        return str(place)
    return f"{place} · {label_of(request.prompt, request.variants[image.index])}"


def _buttons(translate: Translator, job: Job, *actions: Action) -> Iterator[Any]:
    # Without emoji, four buttons fit side by side on a phone.
    has_emoji = len(job.images) == 1
    for action in actions:
        custom_id = _edit_id(job) if action == "edit" else CustomId(action, job.id)
        emoji = _EMOJI.get(action) if has_emoji else None
        yield button(custom_id, translate(f"button.{action}"), emoji)


def _edit_id(job: Job) -> CustomId:
    request = job.request
    if request.variants is not None and len(job.images) > 1:
        return CustomId("template", job.id)  # its pictures have no prompt in common
    # The seed of a composition that began from another latent does not make it again.
    is_kept = request.strength is not None and request.image is None
    return CustomId("edit", job.id, "keep" if is_kept else "")
