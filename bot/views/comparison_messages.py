"""The messages of comparisons: pairs of pictures to vote on, and the answer to a vote.

Nothing in the message of the pairs tells which model made which picture.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from bot.policy.message_credit import Credit
from bot.service.models import Comparison, Job, PicturePair, Vote
from bot.text.catalog import Translator
from bot.text.markdown import escape
from bot.views.attachments import PictureFile
from bot.views.components import FAILED_COLOUR, Layout, box, button, gallery, row, small, text
from bot.views.custom_ids import CustomId
from bot.views.picture_messages import credited, short

CHOICES: Final = ("left", "same", "right")
_EMOJI: Final = {"left": "⬅️", "right": "➡️", "same": None}


def pairs(
    translate: Translator,
    comparison: Comparison,
    files: Mapping[int, Sequence[PictureFile]],
    *,
    spoiler: bool = False,
    credit: Credit | None = None,
) -> Layout:
    """Return the message of a comparison whose jobs have ended.

    Args:
        translate: translates into the message's language.
        comparison: whose pictures are shown.
        files: the left and the right picture, by the index of the pair.
        spoiler: hide the pictures until they are clicked.
        credit: the button that the comparison came from.
    """
    first = comparison.jobs[0]
    lines = [
        *credited(translate, credit),
        f"**{short(first.request.prompt)}**",
        small(translate("compare.question")),
    ]
    parts = [text("\n".join(lines))]
    for pair in comparison.pairs:
        parts += _pair(translate, comparison.id, pair, files[pair.index], spoiler)
    return Layout(
        box(parts),
        row(button(CustomId("delete", first.id, "all"), translate("button.delete"), "🗑️")),
        files=[(file.name, file.data) for two in files.values() for file in two],
    )


def incomplete(
    translate: Translator, comparison: Comparison, reasons: Sequence[str], credit: Credit | None
) -> Layout:
    """Return the message of a comparison without all of its pictures; says why."""
    first = comparison.jobs[0]
    lines = [*credited(translate, credit), f"**{short(first.request.prompt)}**", *reasons]
    return Layout(
        box([text("\n".join(lines))], FAILED_COLOUR),
        row(button(CustomId("delete", first.id, "all"), translate("button.delete"), "🗑️")),
    )


def voted(translate: Translator, vote: Vote, pressed: str) -> Layout:
    """Return the answer to a vote: what the sides were, and the votes so far.

    Args:
        translate: translates into the person's language.
        vote: what counts as the person's.
        pressed: what the person chose now.
    """
    return Layout(box([text("\n".join(_voted_lines(translate, vote, pressed)))]))


def name_of(job: Job) -> str:
    """Return the model of one of a comparison's jobs, as text."""
    return escape(job.request.model or "")


def _pair(
    translate: Translator,
    comparison_id: str,
    pair: PicturePair,
    files: Sequence[PictureFile],
    spoiler: bool,
) -> Iterator[Any]:
    alts = [translate(f"compare.{side}") for side in ("left", "right")]
    yield gallery([file.name for file in files], alts, spoiler)
    yield row(
        *(
            button(
                CustomId("vote", comparison_id, f"{pair.index}.{choice}"),
                translate(f"compare.{choice}"),
                _EMOJI[choice],
            )
            for choice in CHOICES
        )
    )


def _voted_lines(translate: Translator, vote: Vote, pressed: str) -> Iterator[str]:
    if pressed != vote.choice:
        yield translate("compare.before", choice=translate(f"compare.{vote.choice}"))
    left, right = escape(vote.left), escape(vote.right)
    yield translate("compare.sides", left=left, right=right)
    counts = [f"{escape(model)}: {count}" for model, count in sorted(vote.counts.items())]
    so_far = " · ".join([*counts, f"{translate('compare.same')}: {vote.same}"])
    yield small(translate("compare.so_far", votes=so_far))
