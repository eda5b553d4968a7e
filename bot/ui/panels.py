"""The messages around pictures: about one, one's gallery, one's queue, settings, rules, status."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from discord import ui

from bot.custom_ids import CustomId
from bot.markdown import escape, shorten
from bot.records import Job, ServiceStatus
from bot.rules import Defaults, GuildRules
from bot.texts import Voice
from bot.ui.layouts import seconds
from bot.ui.parts import Layout, bar, box, button, gallery, row, small, text

_LINE_CHARS = 70
_INFO_CHARS = 1100
_LIST_CHARS = 3000


def info(
    voice: Voice, job: Job, files: Sequence[tuple[str, bytes]], links: Sequence[str]
) -> Layout:
    """Return all there is to know about a job's pictures, with the original files."""
    label = voice("info.original")
    names = [label] if len(links) == 1 else [f"{label} {n}" for n in range(1, len(links) + 1)]
    lines = [f"### {voice('info.title')}", *_facts(voice, job)]
    if links:
        named = zip(names, links, strict=True)
        lines.append(" · ".join(f"[{name}]({link})" for name, link in named))
    shown: list[Any] = [ui.File(f"attachment://{name}") for name, _ in files]
    return Layout(box([text("\n".join(lines))]), *shown, files=files)


def gallery_page(
    voice: Voice,
    page: int,
    jobs: Sequence[Job],
    thumbnails: Sequence[tuple[str, bytes]],
    more: bool,
) -> Layout:
    """Return a page of somebody's pictures; ``more``: there are older ones."""
    if not jobs:
        return Layout(box([text(voice("gallery.none" if page == 0 else "gallery.no_more"))]))
    lines = [
        small(f"{number} · {escape(shorten(job.request.prompt, _LINE_CHARS))}")
        for number, job in enumerate(jobs, 1)
    ]
    title = f"### {voice('gallery.title', page=page + 1)}"
    shown = gallery([name for name, _ in thumbnails], [job.request.prompt for job in jobs])
    showing = [button(CustomId("show", job.id), str(number)) for number, job in enumerate(jobs, 1)]
    newer, older = CustomId("page", str(page - 1)), CustomId("page", str(page + 1))
    turning = [
        button(
            newer if page else CustomId("page", "0", "top"),
            voice("button.newer"),
            "◀️",
            disabled=page == 0,
        ),
        button(older, voice("button.older"), "▶️", disabled=not more),
    ]
    return Layout(
        box([text(title), shown, text("\n".join(lines))]),
        text(small(f"🖼️ {voice('gallery.show')}")),
        row(*showing),
        *([row(*turning)] if page or more else ()),
        files=thumbnails,
    )


def queue(voice: Voice, jobs: Sequence[Job], status: ServiceStatus | None, now_s: float) -> Layout:
    """Return what somebody has under way, each with a button to cancel it."""
    parts: list[Any] = [text(f"### {voice('queue.title')}")]
    if not jobs:
        parts.append(text(voice("queue.none")))
    for job in jobs:
        cancel = button(CustomId("drop", job.id), voice("button.cancel"), "✖️")
        parts.append(ui.Section(_queue_line(voice, job, now_s), accessory=cancel))
    if status is not None:
        total = voice("queue.total", running=status.running, queued=status.queued)
        parts.append(text(small(total)))
    return Layout(box(parts))


def settings(voice: Voice, defaults: Defaults) -> Layout:
    """Return somebody's defaults."""
    yes_or_no = {True: voice("settings.yes"), False: voice("settings.no")}
    aspect = voice(f"choice.{defaults.aspect}") if defaults.aspect else voice("settings.unset")
    lines = [
        f"### {voice('settings.title')}",
        _fact(voice("settings.aspect"), aspect),
        _fact(voice("settings.negative"), escape(defaults.negative) or "–"),  # noqa: RUF001
        _fact(voice("settings.private"), yes_or_no[defaults.private]),
        _fact(voice("settings.preview"), yes_or_no[defaults.preview]),
    ]
    return Layout(box([text("\n".join(lines))]))


def rules(voice: Voice, rules: GuildRules) -> Layout:
    """Return a server's rules."""

    def limit(value: int) -> str:
        return str(value) if value else voice("admin.unlimited")

    lines = [
        voice(
            "admin.limits",
            images=limit(rules.max_images),
            steps=limit(rules.max_steps),
            open=limit(rules.max_open),
        )
    ]
    channels = ", ".join(f"<#{channel}>" for channel in rules.channels)
    lines.append(
        voice("admin.channels", channels=channels) if channels else voice("admin.channels_all")
    )
    lists = (("admin.blocklist", rules.words), ("admin.blocklist_adult", rules.adult_words))
    named = [
        voice(
            key, words=shorten(", ".join(f"||{escape(word)}||" for word in words), _LIST_CHARS // 2)
        )
        for key, words in lists
        if words
    ]
    return Layout(box([text("\n".join(lines + (named or [voice("admin.blocklist_empty")])))]))


def status(voice: Voice, found: ServiceStatus, problem: str) -> Layout:
    """Return how the service does; ``problem`` is empty when it is ready."""
    ready = (
        voice("admin.status_not_ready", reason=escape(problem))
        if problem
        else voice("admin.status_ready")
    )
    replicas = voice("admin.status_unknown")
    if found.replicas is not None:
        replicas = ", ".join(f"{escape(name)} {count}" for name, count in found.replicas.items())
    ended = found.ended
    rate = voice(
        "admin.status_errors", rate=round(100 * found.error_rate), count=sum(ended.values())
    )
    lines = [
        f"### {voice('admin.status_title')}",
        ready,
        _fact(voice("admin.status_replicas"), replicas),
        voice("admin.status_queue", queued=found.queued, running=found.running),
        rate,
    ]
    return Layout(box([text("\n".join(lines))]))


def _facts(voice: Voice, job: Job) -> Iterator[str]:
    request, cost = job.request, job.cost
    if request.kind != "generate":
        yield small(voice("info.kind_vary"))
    yield _fact(voice("info.prompt"), shorten(escape(request.prompt), _INFO_CHARS))
    if request.negative_prompt:
        yield _fact(voice("info.negative"), shorten(escape(request.negative_prompt), _INFO_CHARS))
    yield _fact(voice("info.size"), f"{request.width}×{request.height}")  # noqa: RUF001
    for image in job.images:
        seeds = voice("info.seed_pair", seed=image.seed, decoder_seed=image.decoder_seed)
        yield _fact(_numbered(voice("info.seeds"), image.index, job), seeds)
    steps = voice("info.steps_pair", steps=request.steps, decoder_steps=request.decoder_steps)
    yield _fact(voice("info.steps"), steps)
    yield _fact(voice("info.guidance"), f"{request.guidance_scale:g}")
    stages = {"c": cost.c_s, "b": cost.b_s, "a": cost.a_s}
    named = {name: seconds(voice, value_s) for name, value_s in stages.items()}
    yield _fact(voice("info.cost"), voice("info.cost_value", **named))
    if job.finished_at is not None:
        yield _fact(voice("info.made"), f"<t:{int(job.finished_at.timestamp())}:f>")
    for image in job.images:
        yield small(f"{_numbered(voice('info.picture_id'), image.index, job)} `{image.id}`")
        yield small(f"{_numbered(voice('info.latent_id'), image.index, job)} `{image.latent_id}`")
    yield small(f"{voice('info.job_id')} `{job.id}`")


def _queue_line(voice: Voice, job: Job, now_s: float) -> str:
    prompt = escape(shorten(job.request.prompt, _LINE_CHARS))
    facts = []
    if job.state == "running":
        facts.append(voice("queue.running"))
        if job.progress is not None:
            facts.append(bar(job.progress.step / max(1, job.progress.steps)))
    elif job.position:
        facts.append(voice("live.ahead", count=job.position))
    else:
        facts.append(voice("live.waiting"))
    if job.eta_s is not None:
        facts.append(voice("live.done", when=f"<t:{round(now_s + job.eta_s)}:R>"))
    return f"{prompt}\n{small(' · '.join(facts))}"


def _numbered(label: str, index: int, job: Job) -> str:
    return f"{label} {index + 1}" if job.request.n > 1 else label


def _fact(label: str, value: str) -> str:
    return f"**{label}** {value}"
