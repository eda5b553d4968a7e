"""The messages of jobs: in progress, finished, ended without a picture, and paused.

These functions turn values into components and do no I/O. :func:`shown_in` reads the values for
the Edit form back from a message, so the form opens without a request to the service. Only
shortened prompts are loaded from the service.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bot.policy.job_request import EditedValues
from bot.policy.message_credit import Credit
from bot.policy.series import label_of
from bot.service.models import Image, Job, ResolvedRequest
from bot.text.catalog import Translator
from bot.text.markdown import escape, shorten, unescape
from bot.views import custom_ids
from bot.views.attachments import PictureFile
from bot.views.components import (
    FAILED_COLOUR,
    QUIET_COLOUR,
    WORKING_COLOUR,
    Layout,
    box,
    button,
    galleries,
    gallery,
    percent,
    row,
    small,
    text,
)
from bot.views.custom_ids import CustomId
from bot.views.picture_buttons import delete_rows, result_rows
from bot.views.snapshot import Snapshot

_SHOWN_PROMPT_CHARS = 300
_SHOWN_NEGATIVE_CHARS = 120
_SHOWN_LABEL_CHARS = 40
_MAX_ALT_CHARS = 1024
_WITHOUT = "🚫 "
_NO_BREAK = "\N{NO-BREAK SPACE}"
_SEED = re.compile(r"`(\d{1,10})`")
_SIZE = re.compile(r"(\d{3,4})×(\d{3,4})")  # noqa: RUF001
_UNREAD = re.compile(r"only the first (\d+) tokens of the (prompt|negative prompt) are used")
"""A warning of :class:`cascade_core.conditioning.text.PromptLimit`."""


@dataclass(frozen=True, slots=True)
class ShownPictures:
    """What a message of finished pictures says about them.

    Attributes:
        job_id: the job of the pictures; empty if the message shows none that are finished.
        values: the values for the Edit form.
        indices: of the remaining pictures.
        is_variation: the pictures are details of one composition.
        is_cut: the message shortens a prompt.
    """

    job_id: str
    values: EditedValues
    indices: tuple[int, ...]
    is_variation: bool
    is_cut: bool


def live(
    translate: Translator,
    job_id: str,
    prompt: str,
    snapshot: Snapshot,
    preview: tuple[str, bytes] | None = None,
    spoiler: bool = False,
    credit: Credit | None = None,
) -> Layout:
    """Return the message of a job in progress."""
    lines = [
        *credited(translate, credit),
        f"**{short(prompt)}**",
        *_state_lines(translate, snapshot),
    ]
    pictures = None
    if preview:
        pictures = gallery(
            [preview[0]], [_alt(translate("live.preview_alt", prompt=prompt))], spoiler
        )
    return Layout(
        box([text("\n".join(lines)), pictures], WORKING_COLOUR),
        row(button(CustomId("cancel", job_id), translate("button.cancel"))),
        files=[preview] if preview else (),
    )


def finished(
    translate: Translator,
    job: Job,
    files: Sequence[PictureFile],
    *,
    spoiler: bool = False,
    links: Sequence[str] = (),
    credit: Credit | None = None,
    choose_to_delete: bool = False,
) -> Layout:
    """Return the message of a job that has succeeded.

    Args:
        translate: translates into the message's language.
        job: a job with at least one picture.
        files: one file for each picture.
        spoiler: hide the pictures until they are clicked.
        links: links to the originals, if the files are smaller versions.
        credit: the button that the job came from.
        choose_to_delete: ask which picture to delete, instead of showing the usual buttons.
    """
    shown = galleries([file.name for file in files], _alts(translate, job, len(files)), spoiler)
    parts = [
        *map(text, credited(translate, credit)),
        *shown,
        text("\n".join(_result_lines(translate, job, files, links))),
    ]
    return Layout(
        box(parts),
        *(delete_rows(translate, job) if choose_to_delete else result_rows(translate, job)),
        files=[(file.name, file.data) for file in files],
    )


def credited(translate: Translator, credit: Credit | None) -> Iterator[str]:
    """Yield the line about the button press that the job came from; nothing for a command."""
    if credit is not None:
        line = translate(f"credit.{credit.means}", person=f"<@{credit.user_id}>", link=credit.link)
        yield small(line if credit.link else re.sub(r"\[(.+)\]\(\)", r"\1", line))


def ended(
    translate: Translator,
    job: Job,
    reason: str,
    credit: Credit | None = None,
    *,
    is_fault: bool = False,
) -> Layout:
    """Return the message of a job without pictures; ``is_fault``: the service or bot failed."""
    lines = [*credited(translate, credit), f"**{short(job.request.prompt)}**", reason]
    return Layout(
        box([text("\n".join(lines))], FAILED_COLOUR if is_fault else QUIET_COLOUR),
        row(
            button(CustomId("again", job.id), translate("button.again"), "🔁"),
            button(CustomId("delete", job.id), translate("button.delete"), "🗑️"),
        ),
    )


def paused(translate: Translator, job_id: str, prompt: str, credit: Credit | None = None) -> Layout:
    """Return the message of a job whose progress is not shown while the bot restarts."""
    lines = [
        *credited(translate, credit),
        f"**{short(prompt)}**",
        small(translate("live.restarting")),
    ]
    cancel = button(CustomId("cancel", job_id), translate("button.cancel"))
    return Layout(box([text("\n".join(lines))], QUIET_COLOUR), row(cancel))


def shown_in(components: Sequence[Any]) -> ShownPictures:
    """Read a message made by :func:`finished` back from its components."""
    parts = list(_walk(components))
    alts = [item.get("description") or "" for part in parts for item in part.get("items") or ()]
    prompt = _without_number(alts[0], len(alts)) if alts else ""
    negative = size = ""
    seeds: list[str] = []
    for words in _small_lines(parts):
        if words.startswith(_WITHOUT):
            negative = unescape(words.removeprefix(_WITHOUT))
        elif found := _SIZE.search(words):
            size, seeds = f"{found[1]}x{found[2]}", _SEED.findall(words)
    values = EditedValues(
        prompt=prompt, negative_prompt=negative, seed=seeds[0] if seeds else "", size=size
    )
    ids = map(custom_ids.parse, _ids_in(parts))
    # Each picture has a button *Vary details*, or an option of the select menu.
    varied = [one for one in ids if one is not None and one.action in ("vary", "choose")]
    return ShownPictures(
        varied[0].subject if varied else "",
        values,
        indices=tuple(one.index for one in varied if one.index is not None),
        is_variation=len(seeds) > 1,
        is_cut=prompt.endswith("…") or negative.endswith("…"),
    )


def has_spoiler(components: Sequence[Any]) -> bool:
    """Return True if a message hides its pictures, so that what comes of them is hidden, too."""
    items = (item for part in _walk(components) for item in part.get("items") or ())
    return any(item.get("spoiler") for item in items)


def seconds(translate: Translator, value_s: float) -> str:
    """Return a duration in words of the language."""
    number = f"{value_s:.1f}" if value_s < 10 else f"{value_s:.0f}"
    return translate("unit.seconds", number=number.replace(".", translate("unit.decimal_point")))


def _state_lines(translate: Translator, snapshot: Snapshot) -> Iterator[str]:
    done = (
        "" if snapshot.done_at is None else translate("live.done", when=f"<t:{snapshot.done_at}:R>")
    )
    if snapshot.stage is not None and snapshot.stages:
        yield percent(snapshot.fraction)
    if snapshot.is_lost:
        yield small(translate("live.lost"))
        return
    if snapshot.stage is None:
        waiting = translate("live.waiting") if not snapshot.position else ""
        ahead = translate("live.ahead", count=snapshot.position) if snapshot.position else ""
        yield small(" · ".join(filter(None, (waiting, ahead, done))))
        return
    stage = translate.translate_or(f"live.stage_{snapshot.stage}", escape(snapshot.stage_title))
    number = f"{snapshot.index + 1}/{snapshot.n}" if snapshot.n > 1 else ""
    step = f"{snapshot.step}/{snapshot.steps}" if snapshot.steps > 1 else ""
    yield small(" · ".join(filter(None, (f"{stage} {step}".strip(), number, done))))


def _result_lines(
    translate: Translator, job: Job, files: Sequence[PictureFile], links: Sequence[str]
) -> Iterator[str]:
    request, first = job.request, job.images[0]
    if len(job.images) == 1:
        yield short(request.prompt_of(first.index))
    else:
        yield short(request.prompt)
        yield from _legend(request, job.images)
    if request.negative_prompt:
        yield small(_WITHOUT + escape(shorten(request.negative_prompt, _SHOWN_NEGATIVE_CHARS)))
    facts = [translate("result.seed", seed=first.seed)]
    if first.decoder_seed != first.seed:
        facts.append(translate("result.details", seed=first.decoder_seed))
    yield small(" · ".join([*facts, f"{request.width}×{request.height}"]))  # noqa: RUF001
    for warning in job.warnings:
        yield small(f"⚠️ {_warning(translate, warning)}")
    if not all(file.is_original for file in files):
        named = [f"[{number}]({link})" for number, link in enumerate(links, 1)]
        originals = [translate("result.originals"), *named] if named else []
        yield small(" ".join([translate("result.smaller"), *originals]))


def _legend(request: ResolvedRequest, images: Sequence[Image]) -> Iterator[str]:
    """Yield the line that says which picture of a series is which."""
    if request.variants is None:
        return
    labels = (label_of(request.prompt, request.variants[image.index]) for image in images)
    yield " · ".join(
        f"**{place}**{_NO_BREAK}{escape(shorten(label, _SHOWN_LABEL_CHARS))}"
        for place, label in enumerate(labels, 1)
    )


def _warning(translate: Translator, warning: str) -> str:
    found = _UNREAD.fullmatch(warning)
    if found is None:
        return escape(warning)
    key = "result.unread" if found[2] == "prompt" else "result.unread_negative"
    return translate(key, count=int(found[1]))


def _alts(translate: Translator, job: Job, count: int) -> list[str]:
    prompts = [job.request.prompt_of(image.index) for image in job.images[:count]]
    if count == 1:
        return [_alt(prompts[0])]
    return [
        _alt(translate("result.alt", number=number, count=count, prompt=prompt))
        for number, prompt in enumerate(prompts, 1)
    ]


def _without_number(alt: str, count: int) -> str:
    """Return the prompt in the alt text of the first of ``count`` pictures, in any language."""
    if count > 1:
        return re.sub(rf"^[^:\d]*1\b[^:\d]*{count}\b[^:\d]*: ", "", alt, count=1)
    return alt


def short(prompt: str) -> str:
    """Return a prompt as messages show it."""
    return escape(shorten(prompt, _SHOWN_PROMPT_CHARS))


def _alt(words: str) -> str:
    return shorten(words, _MAX_ALT_CHARS)


def _small_lines(parts: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for part in parts:
        for line in str(part.get("content") or "").splitlines():
            if line.startswith(small("")):
                yield line.removeprefix(small(""))


def _ids_in(parts: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the ids of buttons, and of the options of select menus."""
    for part in parts:
        yield str(part.get("custom_id") or "")
        yield from (str(option["value"]) for option in part.get("options") or ())


def _walk(components: Sequence[Any]) -> Iterator[Mapping[str, Any]]:
    for component in components:
        yield component
        yield from _walk(component.get("components") or ())
