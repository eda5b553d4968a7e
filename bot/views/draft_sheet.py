"""The sheet of drafts, from which people choose the pictures to finish."""

from __future__ import annotations

from collections.abc import Sequence

from discord import ButtonStyle

from bot.policy.message_credit import Credit
from bot.service.models import Job
from bot.text.catalog import Translator
from bot.text.markdown import escape, shorten
from bot.views.components import Layout, box, button, galleries, row, rows, small, text
from bot.views.custom_ids import CustomId
from bot.views.picture_messages import credited

_PROMPT_CHARS = 300
_ALT_CHARS = 1024


def draft_sheet(
    translate: Translator,
    job: Job,
    indices: Sequence[int],
    files: Sequence[tuple[str, bytes]],
    spoiler: bool = False,
    credit: Credit | None = None,
) -> Layout:
    """Return the sheet of a job that waits: its compositions by number, each with a button.

    Args:
        translate: translates into the message's language.
        job: the job.
        indices: of its compositions that can be shown, at least one.
        files: names and bytes of their previews.
        spoiler: hide the previews until they are clicked.
        credit: the button that the job came from.
    """
    request, count = job.request, len(indices)
    alts = [
        shorten(
            translate("drafts.alt", number=number, count=count, prompt=request.prompt), _ALT_CHARS
        )
        for number in range(1, count + 1)
    ]
    seed = translate("result.seed", seed=request.seed)
    told = [
        escape(shorten(request.prompt, _PROMPT_CHARS)),
        small(f"{seed} · {request.width}×{request.height}"),  # noqa: RUF001
        small(translate("drafts.choose")),
    ]
    picks = [
        button(CustomId("pick", job.id, str(index)), str(number), style=ButtonStyle.primary)
        for number, index in enumerate(indices, 1)
    ]
    parts = [
        *map(text, credited(translate, credit)),
        *galleries([name for name, _ in files], alts, spoiler),
        text("\n".join(told)),
    ]
    return Layout(
        box(parts),
        *rows(picks),
        row(
            button(CustomId("reroll", job.id), translate("button.reroll"), "🎲"),
            button(CustomId("delete", job.id), translate("button.delete"), "🗑️"),
        ),
        files=files,
    )
