"""The other messages: info about a picture, gallery, queue, settings, rules and status."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from discord import ui

from bot.policy.aspects import aspect_name, aspects_to_choose, size_of
from bot.policy.guild_rules import GuildRules
from bot.policy.series import format_variants, label_of
from bot.policy.user_defaults import UserDefaults
from bot.service.models import Job, ModelInfo, ServiceStatus, find_model
from bot.text.catalog import Translator
from bot.text.markdown import escape, shorten
from bot.views.components import Layout, box, button, galleries, row, small, text
from bot.views.custom_ids import CustomId
from bot.views.picture_messages import seconds
from cascade_core.operations.registry import SERIES

ALL = "all"
"""A custom id's subject that stands for all open jobs of the person."""
_LINE_CHARS = 70
_INFO_CHARS = 600
_COMMAND_CHARS = 900
_LIST_CHARS = 3000
_LIMITED = ("forbidden", "check")


def info(
    translate: Translator,
    job: Job,
    files: Sequence[tuple[str, bytes]],
    links: Sequence[str],
    models: Sequence[ModelInfo] = (),
    original_s: float | None = None,
) -> Layout:
    """Return how a job's pictures were made, with the original files.

    Args:
        translate: translates into the person's language.
        job: the job with its pictures.
        files: names and bytes of the original files, as far as they fit.
        links: links to the original files.
        models: of the service, the default first; empty where unknown.
        original_s: compute seconds of the picture that this one varies.
    """
    label = translate("info.original")
    names = [label] if len(links) == 1 else [f"{label} {n}" for n in range(1, len(links) + 1)]
    lines = [f"### {translate('info.title')}", *_facts(translate, job, original_s)]
    if links:
        named = zip(names, links, strict=True)
        lines.append(" · ".join(f"[{name}]({link})" for name, link in named))
    command = _command(translate, job, models) if models else ""
    if command and len(command) <= _COMMAND_CHARS and "```" not in command:
        lines += [small(translate("info.command")), f"```\n{command}\n```"]
    shown: list[Any] = [ui.File(f"attachment://{name}") for name, _ in files]
    more = row(button(CustomId("more", job.id), translate("button.more")))
    return Layout(box([text("\n".join(lines))]), *shown, more, files=files)


def ids(translate: Translator, job: Job) -> Layout:
    """Return the ids of a job, its pictures and its latents in the service."""
    lines = [f"{translate('info.job_id')} `{job.id}`"]
    for place, image in enumerate(job.images, 1):
        lines.append(f"{_numbered(translate('info.picture_id'), place, job)} `{image.id}`")
        lines.append(f"{_numbered(translate('info.latent_id'), place, job)} `{image.latent_id}`")
    return Layout(box([text("\n".join(lines))]))


def gallery_page(
    translate: Translator,
    page: int,
    jobs: Sequence[Job],
    thumbnails: Sequence[tuple[str, bytes]],
    more: bool,
) -> Layout:
    """Return a page of a person's pictures; ``more``: there are older ones."""
    if not jobs:
        return Layout(box([text(translate("gallery.none" if page == 0 else "gallery.no_more"))]))
    lines = [
        small(f"{number} · {escape(shorten(job.request.prompt, _LINE_CHARS))}")
        for number, job in enumerate(jobs, 1)
    ]
    title = f"### {translate('gallery.title', page=page + 1)}"
    alts = [f"{number}: {job.request.prompt}" for number, job in enumerate(jobs, 1)]
    shown = galleries([name for name, _ in thumbnails], alts)
    showing = [
        button(CustomId("show", job.id), translate("button.show_one", number=number))
        for number, job in enumerate(jobs, 1)
    ]
    newer, older = CustomId("page", str(page - 1)), CustomId("page", str(page + 1))
    turning = [
        button(
            newer if page else CustomId("page", "0", "top"),
            translate("button.newer"),
            "◀️",
            disabled=page == 0,
        ),
        button(older, translate("button.older"), "▶️", disabled=not more),
    ]
    return Layout(
        box([text(title), *shown, text("\n".join(lines))]),
        text(small(f"🖼️ {translate('gallery.show')}")),
        row(*showing),
        *([row(*turning)] if page or more else ()),
        files=thumbnails,
    )


def queue(
    translate: Translator, jobs: Sequence[Job], more: int, status: ServiceStatus | None
) -> Layout:
    """Return a person's open jobs, each with a button to cancel it.

    Args:
        translate: translates into the person's language.
        jobs: the first open jobs.
        more: number of further open jobs.
        status: the service's status; None where unknown.
    """
    parts: list[Any] = [text(f"### {translate('queue.title')}")]
    if not jobs:
        parts.append(text(translate("queue.none")))
    for job in jobs:
        cancel = button(CustomId("drop", job.id), translate("button.cancel"))
        parts.append(ui.Section(_queue_line(translate, job), accessory=cancel))
    if more:
        parts.append(text(translate("queue.more", count=more)))
    if status is not None:
        total = translate("queue.total", running=status.running, queued=status.queued)
        parts.append(text(small(total)))
    cancel_all = button(CustomId("drop", ALL), translate("button.cancel_all"))
    return Layout(box(parts), *([row(cancel_all)] if len(jobs) > 1 else ()))


def settings(
    translate: Translator, defaults: UserDefaults, model: ModelInfo | None = None
) -> Layout:
    """Return a person's defaults; the shape has its size if the model is known."""
    yes_or_no = {True: translate("settings.yes"), False: translate("settings.no")}
    aspect = translate("settings.unset")
    if defaults.aspect:
        aspect = aspect_name(translate, defaults.aspect, model)
    lines = [
        f"### {translate('settings.title')}",
        _fact(translate("settings.aspect"), aspect),
        _fact(translate("settings.negative"), escape(defaults.negative) or "–"),  # noqa: RUF001
        _fact(translate("settings.private"), yes_or_no[defaults.private]),
        _fact(translate("settings.preview"), yes_or_no[defaults.preview]),
    ]
    return Layout(box([text("\n".join(lines))]))


def about(translate: Translator, models: Sequence[ModelInfo]) -> Layout:
    """Return the service's models, the default first, with the licences of their weights."""
    lines = [
        f"### {translate('about.title')}",
        *(_fact(escape(model.id), _licence(translate, model)) for model in models),
    ]
    return Layout(box([text(shorten("\n".join(lines), _LIST_CHARS))]))


def _licence(translate: Translator, model: ModelInfo) -> str:
    """Return a model's licence, and what to know of offering the model to others."""
    if model.hosting not in _LIMITED:
        return escape(model.licence)
    return f"{escape(model.licence)} · ⚠️ {translate(f'about.hosting_{model.hosting}')}"


def rules(translate: Translator, rules: GuildRules) -> Layout:
    """Return a server's rules."""

    def limit(value: int) -> str:
        return str(value) if value else translate("admin.unlimited")

    lines = [
        translate(
            "admin.limits",
            images=limit(rules.max_images),
            steps=limit(rules.max_steps),
            open=limit(rules.max_open),
        )
    ]
    channels = ", ".join(f"<#{channel}>" for channel in rules.channels)
    lines.append(
        translate("admin.channels", channels=channels)
        if channels
        else translate("admin.channels_all")
    )
    lines.append(_approval(translate, rules))
    lists = (("admin.blocklist", rules.words), ("admin.blocklist_adult", rules.adult_words))
    named = [
        translate(
            key, words=shorten(", ".join(f"||{escape(word)}||" for word in words), _LIST_CHARS // 2)
        )
        for key, words in lists
        if words
    ]
    return Layout(box([text("\n".join(lines + (named or [translate("admin.blocklist_empty")])))]))


def _approval(translate: Translator, rules: GuildRules) -> str:
    if not rules.approval_channel:
        return translate("admin.approval_off")
    role = f"<@&{rules.approval_role}>" if rules.approval_role else ""
    return translate(
        "admin.approval",
        channel=f"<#{rules.approval_channel}>",
        role=role or translate("admin.approval_managers"),
    )


def status(translate: Translator, found: ServiceStatus, problem: str) -> Layout:
    """Return how the service is doing.

    Args:
        translate: translates into the person's language.
        found: the service's status.
        problem: what is not ready, as ``name: reason; …``; empty if all is ready. Only the names
            are shown; the operator finds the reasons at ``/readyz``.
    """
    ready = translate("admin.status_ready")
    if problem:
        names = [part.partition(":")[0] for part in problem.split("; ") if ":" in part]
        missing = ", ".join(map(escape, names)) or translate("admin.status_unknown")
        ready = translate("admin.status_not_ready", reason=missing)
    replicas = translate("admin.status_unknown")
    if found.replicas is not None:
        replicas = ", ".join(f"{escape(name)} {count}" for name, count in found.replicas.items())
    ended = found.ended
    jobs = sum(ended.values())
    rate = translate("admin.status_errors", rate=round(100 * found.error_rate), count=jobs)
    lines = [
        f"### {translate('admin.status_title')}",
        ready,
        _fact(translate("admin.status_replicas"), replicas),
        translate("admin.status_queue", queued=found.queued, running=found.running),
        rate,
    ]
    return Layout(box([text("\n".join(lines))]))


def _facts(translate: Translator, job: Job, original_s: float | None) -> Iterator[str]:
    request, cost = job.request, job.cost
    if request.is_variation or request.variants is not None:
        strength = "" if request.strength is None else f"{request.strength:g}"
        yield small(
            translate.translate_or(
                f"info.kind_{request.kind}", escape(request.kind), strength=strength
            )
        )
    yield _fact(translate("info.prompt"), shorten(escape(request.prompt), _INFO_CHARS))
    if request.variants is not None:
        for place, image in enumerate(job.images, 1):
            label = label_of(request.prompt, request.variants[image.index])
            yield small(f"{place} · {escape(shorten(label, _LINE_CHARS))}")
    if request.negative_prompt:
        yield _fact(
            translate("info.negative"), shorten(escape(request.negative_prompt), _INFO_CHARS)
        )
    yield _fact(translate("info.size"), f"{request.width}×{request.height}")  # noqa: RUF001
    # The pictures of a series share their seeds.
    seeded = job.images if request.variants is None else job.images[:1]
    for place, image in enumerate(seeded, 1):
        key = "info.seed_one" if image.seed == image.decoder_seed else "info.seed_pair"
        seeds = translate(key, seed=image.seed, decoder_seed=image.decoder_seed)
        label = translate("info.seeds")
        yield _fact(_numbered(label, place, job) if len(seeded) > 1 else label, seeds)
    steps = translate("info.steps_pair", steps=request.steps, decoder_steps=request.decoder_steps)
    yield _fact(translate("info.steps"), steps)
    yield _fact(translate("info.guidance"), f"{request.guidance_scale:g}")
    if job.finished_at is not None:
        took = "" if job.took_s is None else f" · {seconds(translate, job.took_s)}"
        yield _fact(translate("info.made"), f"<t:{int(job.finished_at.timestamp())}:f>{took}")
    costs = (_cost(translate, name, value_s) for name, value_s in cost.by_stage_s.items())
    yield _fact(translate("info.cost"), ", ".join(costs))
    if original_s is not None:
        own, original = seconds(translate, cost.total_s), seconds(translate, original_s)
        yield small(translate("info.varied", took=own, original=original))


def _cost(translate: Translator, stage: str, value_s: float) -> str:
    took = seconds(translate, value_s)
    return translate.translate_or(f"info.cost_{stage}", f"{took} {escape(stage)}", time=took)


def _command(translate: Translator, job: Job, models: Sequence[ModelInfo]) -> str:
    """Return the command with the options that make a job's pictures again.

    The result is empty if no command can: for variations, and for sizes that no shape has.
    """
    request, default = job.request, models[0]
    size, model = (request.width, request.height), find_model(models, job.request.model) or default
    shape = next((one for one in aspects_to_choose(model) if size_of(one, model) == size), None)
    if request.is_variation or request.decoder_seed != request.seed or shape is None:
        return ""
    shared = {
        "aspect": translate(f"choice.{shape}"),
        "model": "" if model is default else model.id,
        "negative": request.negative_prompt,
        "seed": request.seed,
    }
    if request.variants is not None:
        typed = format_variants(request.prompt, request.variants)
        values = {"template": request.prompt, "variants": typed}
        strength = {"strength": f"{request.strength:g}"}
        return _typed(translate, SERIES.name, values | strength | shared) if typed else ""
    own = {
        "steps": request.steps,
        "guidance": f"{request.guidance_scale:g}",
        "count": request.n if request.n > 1 else "",
    }
    return _typed(translate, "imagine", {"prompt": request.prompt} | shared | own)


def _typed(translate: Translator, command: str, values: Mapping[str, object]) -> str:
    """Return a command as people type it in their language."""
    named = [
        f"{translate.find(f'command.{command}.{option}.name') or option}: {value}"
        for option, value in values.items()
        if value != ""
    ]
    return " ".join([f"/{translate.find(f'command.{command}.name') or command}", *named])


def _queue_line(translate: Translator, job: Job) -> str:
    prompt = escape(shorten(job.request.prompt, _LINE_CHARS))
    facts = []
    if job.state == "running":
        facts.append(translate("queue.running"))
    elif job.position:
        facts.append(translate("live.ahead", count=job.position))
    else:
        facts.append(translate("live.waiting"))
    # Discord's relative time would pass while this message stays unchanged.
    if job.eta_s is not None and job.eta_s >= 1:
        unit, length_s = ("minutes", 60) if job.eta_s >= 120 else ("seconds", 1)
        left = translate(f"unit.{unit}", number=round(job.eta_s / length_s))
        facts.append(translate("queue.left", time=left))
    return f"{prompt}\n{small(' · '.join(facts))}"


def _numbered(label: str, place: int, job: Job) -> str:
    return f"{label} {place}" if len(job.images) > 1 else label


def _fact(label: str, value: str) -> str:
    return f"**{label}** {value}"
