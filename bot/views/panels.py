"""The messages around pictures: about one, one's gallery, one's queue, settings, rules, status."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from discord import ui

from bot.policy.aspects import aspect_name, aspects_to_choose
from bot.policy.guild_rules import GuildRules
from bot.policy.job_request import size_of
from bot.policy.user_defaults import Defaults
from bot.service.models import Job, ModelInfo, ServiceStatus
from bot.text.catalog import Voice
from bot.text.markdown import escape, shorten
from bot.views.components import Layout, box, button, galleries, row, small, text
from bot.views.custom_ids import CustomId
from bot.views.picture_messages import seconds

ALL = "all"
"""In the place of a job's id: all of a person's open jobs."""
_LINE_CHARS = 70
_INFO_CHARS = 600
_COMMAND_CHARS = 900
_LIST_CHARS = 3000


def info(
    voice: Voice,
    job: Job,
    files: Sequence[tuple[str, bytes]],
    links: Sequence[str],
    model: ModelInfo | None = None,
    original_s: float | None = None,
) -> Layout:
    """Return what people may want to know of a job's pictures, with the original files.

    Args:
        voice: the language.
        job: with its pictures.
        files: the originals, as far as they fit.
        links: to the originals.
        model: of the service; None where it is not known.
        original_s: seconds of computing of the picture that this one varies.
    """
    label = voice("info.original")
    names = [label] if len(links) == 1 else [f"{label} {n}" for n in range(1, len(links) + 1)]
    lines = [f"### {voice('info.title')}", *_facts(voice, job, original_s)]
    if links:
        named = zip(names, links, strict=True)
        lines.append(" · ".join(f"[{name}]({link})" for name, link in named))
    command = _command(voice, job, model) if model else ""
    if command and len(command) <= _COMMAND_CHARS and "```" not in command:
        lines += [small(voice("info.command")), f"```\n{command}\n```"]
    shown: list[Any] = [ui.File(f"attachment://{name}") for name, _ in files]
    more = row(button(CustomId("more", job.id), voice("button.more")))
    return Layout(box([text("\n".join(lines))]), *shown, more, files=files)


def ids(voice: Voice, job: Job) -> Layout:
    """Return the ids by which a job and its pictures are known to the service."""
    lines = [f"{voice('info.job_id')} `{job.id}`"]
    for place, image in enumerate(job.images, 1):
        lines.append(f"{_numbered(voice('info.picture_id'), place, job)} `{image.id}`")
        lines.append(f"{_numbered(voice('info.latent_id'), place, job)} `{image.latent_id}`")
    return Layout(box([text("\n".join(lines))]))


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
    alts = [f"{number}: {job.request.prompt}" for number, job in enumerate(jobs, 1)]
    shown = galleries([name for name, _ in thumbnails], alts)
    showing = [
        button(CustomId("show", job.id), voice("button.show_one", number=number))
        for number, job in enumerate(jobs, 1)
    ]
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
        box([text(title), *shown, text("\n".join(lines))]),
        text(small(f"🖼️ {voice('gallery.show')}")),
        row(*showing),
        *([row(*turning)] if page or more else ()),
        files=thumbnails,
    )


def queue(voice: Voice, jobs: Sequence[Job], more: int, status: ServiceStatus | None) -> Layout:
    """Return a person's open jobs, each with a button to cancel it.

    Args:
        voice: the language.
        jobs: the first ones.
        more: how many there are besides.
        status: of the service; None where it is not known.
    """
    parts: list[Any] = [text(f"### {voice('queue.title')}")]
    if not jobs:
        parts.append(text(voice("queue.none")))
    for job in jobs:
        cancel = button(CustomId("drop", job.id), voice("button.cancel"))
        parts.append(ui.Section(_queue_line(voice, job), accessory=cancel))
    if more:
        parts.append(text(voice("queue.more", count=more)))
    if status is not None:
        total = voice("queue.total", running=status.running, queued=status.queued)
        parts.append(text(small(total)))
    cancel_all = button(CustomId("drop", ALL), voice("button.cancel_all"))
    return Layout(box(parts), *([row(cancel_all)] if len(jobs) > 1 else ()))


def settings(voice: Voice, defaults: Defaults, model: ModelInfo | None = None) -> Layout:
    """Return a person's defaults; the shape with its size where the model is known."""
    yes_or_no = {True: voice("settings.yes"), False: voice("settings.no")}
    aspect = voice("settings.unset")
    if defaults.aspect:
        aspect = aspect_name(voice, defaults.aspect, model)
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
    """Return how the service is doing.

    Args:
        voice: the language.
        found: what the service says of itself.
        problem: what is not ready, as ``name: reason; …``; empty: all is. The reasons are for the
            operator, who finds them at ``/readyz``.
    """
    ready = voice("admin.status_ready")
    if problem:
        names = [part.partition(":")[0] for part in problem.split("; ") if ":" in part]
        missing = ", ".join(map(escape, names)) or voice("admin.status_unknown")
        ready = voice("admin.status_not_ready", reason=missing)
    replicas = voice("admin.status_unknown")
    if found.replicas is not None:
        replicas = ", ".join(f"{escape(name)} {count}" for name, count in found.replicas.items())
    ended = found.ended
    jobs = sum(ended.values())
    rate = voice("admin.status_errors", rate=round(100 * found.error_rate), count=jobs)
    lines = [
        f"### {voice('admin.status_title')}",
        ready,
        _fact(voice("admin.status_replicas"), replicas),
        voice("admin.status_queue", queued=found.queued, running=found.running),
        rate,
    ]
    return Layout(box([text("\n".join(lines))]))


def _facts(voice: Voice, job: Job, original_s: float | None) -> Iterator[str]:
    request, cost = job.request, job.cost
    if request.kind != "generate":
        yield small(voice("info.kind_vary"))
    yield _fact(voice("info.prompt"), shorten(escape(request.prompt), _INFO_CHARS))
    if request.negative_prompt:
        yield _fact(voice("info.negative"), shorten(escape(request.negative_prompt), _INFO_CHARS))
    yield _fact(voice("info.size"), f"{request.width}×{request.height}")  # noqa: RUF001
    for place, image in enumerate(job.images, 1):
        key = "info.seed_one" if image.seed == image.decoder_seed else "info.seed_pair"
        seeds = voice(key, seed=image.seed, decoder_seed=image.decoder_seed)
        yield _fact(_numbered(voice("info.seeds"), place, job), seeds)
    steps = voice("info.steps_pair", steps=request.steps, decoder_steps=request.decoder_steps)
    yield _fact(voice("info.steps"), steps)
    yield _fact(voice("info.guidance"), f"{request.guidance_scale:g}")
    if job.finished_at is not None:
        took = "" if job.took_s is None else f" · {seconds(voice, job.took_s)}"
        yield _fact(voice("info.made"), f"<t:{int(job.finished_at.timestamp())}:f>{took}")
    stages = {"c": cost.c_s, "b": cost.b_s, "a": cost.a_s}
    named = {name: seconds(voice, value_s) for name, value_s in stages.items()}
    yield _fact(voice("info.cost"), voice("info.cost_value", **named))
    if original_s is not None:
        own, original = seconds(voice, cost.total_s), seconds(voice, original_s)
        yield small(voice("info.varied", took=own, original=original))


def _command(voice: Voice, job: Job, model: ModelInfo) -> str:
    """Return ``/imagine`` with the options that make a job's pictures again.

    Empty where no command does: for other details of a picture, and for sizes of no shape.
    """
    request = job.request
    size = (request.width, request.height)
    shape = next((one for one in aspects_to_choose(model) if size_of(one, model) == size), None)
    if request.kind != "generate" or request.decoder_seed != request.seed or shape is None:
        return ""
    values = {
        "prompt": request.prompt,
        "aspect": voice(f"choice.{shape}"),
        "negative": request.negative_prompt,
        "seed": request.seed,
        "steps": request.steps,
        "guidance": f"{request.guidance_scale:g}",
        "count": request.n if request.n > 1 else "",
    }
    named = [
        f"{voice.find(f'command.imagine.{option}.name') or option}: {value}"
        for option, value in values.items()
        if value != ""
    ]
    return " ".join([f"/{voice.find('command.imagine.name') or 'imagine'}", *named])


def _queue_line(voice: Voice, job: Job) -> str:
    prompt = escape(shorten(job.request.prompt, _LINE_CHARS))
    facts = []
    if job.state == "running":
        facts.append(voice("queue.running"))
    elif job.position:
        facts.append(voice("live.ahead", count=job.position))
    else:
        facts.append(voice("live.waiting"))
    # Not as Discord's relative time: this message does not change, and the time would pass.
    if job.eta_s is not None and job.eta_s >= 1:
        unit, length_s = ("minutes", 60) if job.eta_s >= 120 else ("seconds", 1)
        left = voice(f"unit.{unit}", number=round(job.eta_s / length_s))
        facts.append(voice("queue.left", time=left))
    return f"{prompt}\n{small(' · '.join(facts))}"


def _numbered(label: str, place: int, job: Job) -> str:
    return f"{label} {place}" if len(job.images) > 1 else label


def _fact(label: str, value: str) -> str:
    return f"**{label}** {value}"
