"""The messages about pictures: while one is made, when it is there, when it is not.

Pure: from values to components. :func:`values_of` reads back what the Edit form shows first, so
that the form opens at once, without asking anybody.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from discord import ButtonStyle

from bot.custom_ids import Action, CustomId
from bot.files import PictureFile
from bot.markdown import escape, shorten, unescape
from bot.progress import Snapshot
from bot.records import Job
from bot.texts import Voice
from bot.ui.parts import (
    FAILED_COLOUR,
    QUIET_COLOUR,
    WORKING_COLOUR,
    Layout,
    bar,
    box,
    button,
    gallery,
    row,
    small,
    text,
)

_SHOWN_PROMPT_CHARS = 300
_MAX_ALT_CHARS = 1024
_WITHOUT = "🚫 "
_ON_PICTURES: tuple[tuple[Action, str], ...] = (
    ("reroll", "🎲"),
    ("edit", "✏️"),
    ("info", "ℹ️"),  # noqa: RUF001
    ("delete", "🗑️"),
)
_SEED = re.compile(r"`(\d{1,10})`")
_SIZE = re.compile(r"(\d{3,4})×(\d{3,4})")  # noqa: RUF001


@dataclass(frozen=True, slots=True)
class FormValues:
    """What the Edit form is filled with."""

    prompt: str = ""
    negative_prompt: str = ""
    seed: str = ""
    size: str = ""


def live(
    voice: Voice,
    job_id: str,
    prompt: str,
    snapshot: Snapshot,
    preview: tuple[str, bytes] | None = None,
    spoiler: bool = False,
) -> Layout:
    """Return the message of a job under way."""
    lines = [f"**{_short(prompt)}**", *_state_lines(voice, snapshot)]
    pictures = None
    if preview:
        pictures = gallery([preview[0]], [_alt(voice("live.preview_alt", prompt=prompt))], spoiler)
    return Layout(
        box([text("\n".join(lines)), pictures], WORKING_COLOUR),
        row(button(CustomId("cancel", job_id), voice("button.cancel"), "✖️")),
        files=[preview] if preview else (),
    )


def finished(
    voice: Voice,
    job: Job,
    files: Sequence[PictureFile],
    *,
    spoiler: bool = False,
    links: Sequence[str] = (),
    original_s: float | None = None,
    choose_to_delete: bool = False,
) -> Layout:
    """Return the message of a job that has succeeded.

    Args:
        voice: the language.
        job: with at least one picture.
        files: one for each of its pictures.
        spoiler: hide the pictures until somebody looks.
        links: to the originals, where files are not the original bytes.
        original_s: seconds of computing of the picture that this one varies.
        choose_to_delete: ask which picture to delete, in the place of the usual buttons.
    """
    alts = [_alt(job.request.prompt)] * len(files)
    parts = [
        gallery([file.name for file in files], alts, spoiler),
        text("\n".join(_result_lines(voice, job, files, links, original_s))),
    ]
    return Layout(
        box(parts),
        *(delete_rows(voice, job) if choose_to_delete else result_rows(voice, job)),
        files=[(file.name, file.data) for file in files],
    )


def result_rows(voice: Voice, job: Job) -> Iterator[Any]:
    """Yield the rows of buttons under a job's pictures."""
    indices = [image.index for image in job.images]
    is_one = len(indices) == 1
    # Under several pictures numbers and words only: four stand side by side on a phone then.
    again = [
        button(CustomId(action, job.id), voice(f"button.{action}"), emoji if is_one else None)
        for action, emoji in _ON_PICTURES
    ]
    if is_one:
        vary = CustomId("vary", job.id, str(indices[0]))
        yield row(button(vary, voice("button.vary"), "✨", ButtonStyle.primary), *again)
        return
    yield text(small(f"✨ {voice('button.vary')}"))
    yield row(*(button(CustomId("vary", job.id, str(index)), str(index + 1)) for index in indices))
    yield row(*again)


def delete_rows(voice: Voice, job: Job) -> Iterator[Any]:
    """Yield the rows of buttons that ask which of a job's pictures to delete."""
    danger = ButtonStyle.danger
    yield text(voice("delete.which"))
    yield row(
        *(
            button(
                CustomId("erase", job.id, str(image.index)),
                voice("button.delete_one", number=image.index + 1),
                style=danger,
            )
            for image in job.images
        )
    )
    yield row(
        button(CustomId("erase", job.id, "all"), voice("button.delete_all"), "🗑️", danger),
        button(CustomId("erase", job.id, "none"), voice("button.cancel")),
    )


def ended(voice: Voice, job: Job, reason: str) -> Layout:
    """Return the message of a job that made no picture."""
    colour = QUIET_COLOUR if job.state == "cancelled" else FAILED_COLOUR
    return Layout(
        box([text(f"**{_short(job.request.prompt)}**\n{reason}")], colour),
        row(
            button(CustomId("reroll", job.id), voice("button.again"), "🔁"),
            button(CustomId("delete", job.id), voice("button.delete"), "🗑️"),
        ),
    )


def resting(voice: Voice, job_id: str, prompt: str) -> Layout:
    """Return the message of a job whose progress nobody reports until the bot is back."""
    lines = f"**{_short(prompt)}**\n{small(voice('live.restarting'))}"
    cancel = button(CustomId("cancel", job_id), voice("button.cancel"), "✖️")
    return Layout(box([text(lines)], QUIET_COLOUR), row(cancel))


def values_of(components: Sequence[Any]) -> FormValues:
    """Read the Edit form's values from the components of a message that :func:`finished` made."""
    prompt = negative = seed = size = ""
    for component in _walk(components):
        for item in component.get("items") or ():
            prompt = prompt or item.get("description") or ""
        for line in str(component.get("content") or "").splitlines():
            if not line.startswith(small("")):
                continue
            words = line.removeprefix(small(""))
            if words.startswith(_WITHOUT):
                negative = unescape(words.removeprefix(_WITHOUT))
            elif found := _SIZE.search(words):
                size = f"{found[1]}x{found[2]}"
                seed_found = _SEED.search(words)
                seed = seed_found[1] if seed_found else ""
    return FormValues(prompt, negative, seed, size)


def has_spoiler(components: Sequence[Any]) -> bool:
    """Tell whether a message hides its pictures, so that what comes of them is hidden, too."""
    items = (item for part in _walk(components) for item in part.get("items") or ())
    return any(item.get("spoiler") for item in items)


def seconds(voice: Voice, value_s: float) -> str:
    """Return a duration in words of the language."""
    number = f"{value_s:.1f}" if value_s < 10 else f"{value_s:.0f}"
    return voice("unit.seconds", number=number.replace(".", voice("unit.decimal_point")))


def _state_lines(voice: Voice, snapshot: Snapshot) -> Iterator[str]:
    done = "" if snapshot.done_at is None else voice("live.done", when=f"<t:{snapshot.done_at}:R>")
    if snapshot.stage is None:
        waiting = voice("live.waiting") if not snapshot.position else ""
        ahead = voice("live.ahead", count=snapshot.position) if snapshot.position else ""
        yield small(" · ".join(filter(None, (waiting, ahead, done))))
        return
    stage = voice(f"live.stage_{snapshot.stage}")
    number = f"{snapshot.index + 1}/{snapshot.n}" if snapshot.n > 1 else ""
    yield f"{bar(snapshot.fraction)}  {round(snapshot.fraction * 100)} %"
    step = f"{snapshot.step}/{snapshot.steps}" if snapshot.steps > 1 else ""
    yield small(" · ".join(filter(None, (f"{stage} {step}".strip(), number, done))))


def _result_lines(
    voice: Voice,
    job: Job,
    files: Sequence[PictureFile],
    links: Sequence[str],
    original_s: float | None,
) -> Iterator[str]:
    request, took_s = job.request, job.took_s
    yield _short(request.prompt)
    if request.negative_prompt:
        yield small(_WITHOUT + escape(request.negative_prompt))
    seed = request.seed if request.kind == "generate" else request.decoder_seed
    facts = [voice("result.seed", seed=seed), f"{request.width}×{request.height}"]  # noqa: RUF001
    yield small(" · ".join([*facts, *([seconds(voice, took_s)] if took_s is not None else [])]))
    if original_s is not None:
        own, original = seconds(voice, job.cost.total_s), seconds(voice, original_s)
        yield small(voice("result.varied", took=own, original=original))
    if not all(file.is_original for file in files):
        named = [f"[{number}]({link})" for number, link in enumerate(links, 1)]
        originals = [voice("result.originals"), *named] if named else []
        yield small(" ".join([voice("result.smaller"), *originals]))


def _short(prompt: str) -> str:
    return escape(shorten(prompt, _SHOWN_PROMPT_CHARS))


def _alt(prompt: str) -> str:
    return shorten(prompt, _MAX_ALT_CHARS)


def _walk(components: Sequence[Any]) -> Iterator[Mapping[str, Any]]:
    for component in components:
        yield component
        yield from _walk(component.get("components") or ())
