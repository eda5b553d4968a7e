"""The bot's messages as Chromium draws them, as in docs/discord-bot.md."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO

import pytest
from PIL import Image

from bot.policy.guild_rules import GuildRules
from bot.policy.job_request import EditedValues
from bot.policy.message_credit import Credit
from bot.policy.user_defaults import UserDefaults
from bot.service.assets import Asset
from bot.service.models import Comparison, ModelInfo, PicturePair, ServiceStatus, Vote
from bot.text.catalog import Catalog, Translator
from bot.views import (
    approval_messages,
    comparison_messages,
    info_messages,
    picture_menus,
    picture_messages,
)
from bot.views.attachments import PictureFile
from bot.views.components import FAILED_COLOUR, QUIET_COLOUR, WORKING_COLOUR, Layout, notice
from bot.views.custom_ids import CustomId
from bot.views.modals import EditForm, RejectForm, SeriesForm, StartForm
from bot.views.picture_menus import Offers
from bot.views.snapshot import Snapshot
from cascade_core.families.stable_cascade import STABLE_CASCADE
from tests.bot.conftest import JOB_ID, job_like
from tests.wire.screens import chromium
from tests.wire.screens.page import PHONE_PX, Seen, message_html, modal_html, page

_CREDIT = Credit("vary", 4, "https://discord.com/channels/1/2/3")
_MODEL = ModelInfo("demo", "Apache-2.0", 1024, 768, 128, 256, 1024, (), 20)
_PROMPT = "a <b>red</b> fox"
_HEIGHT_PX = 10_000
_BLURPLE = 0x5865F2
_COLOURS = (0xC81E1E, 0x1EC81E, 0x1E1EC8, 0xC8C81E, 0x1EC8C8)


def _file(colour: int) -> tuple[str, bytes]:
    file = BytesIO()
    Image.new("RGB", (64, 64), f"#{colour:06x}").save(file, "PNG")
    return f"{colour:06x}.png", file.getvalue()


_COMPOSING = Snapshot(stage="c", step=9, steps=20)


def _layouts(translate: Translator) -> Iterator[Layout]:
    preview, *four = map(_file, _COLOURS)
    job = job_like(4, prompt=_PROMPT, negative_prompt="text")
    yield picture_messages.live(translate, JOB_ID, _PROMPT, Snapshot(position=2, done_at=1060))
    yield picture_messages.live(
        translate,
        JOB_ID,
        _PROMPT,
        replace(_COMPOSING, stages=STABLE_CASCADE.stages),
        preview,
    )
    yield picture_messages.finished(translate, job, [PictureFile(*file, False) for file in four])
    one = job_like(1, prompt=_PROMPT)
    yield picture_messages.finished(translate, one, [PictureFile(*preview, True)], credit=_CREDIT)
    variants = [{"colour": f"<b>{number}</b>"} for number in range(5)]
    series = job_like(5, prompt="a {colour} fox", variants=variants)
    five = [PictureFile(*file, True) for file in (preview, *four)]
    yield picture_messages.finished(translate, series, five)
    offers = Offers(variants=True, larger=(384, 384), finer_steps=20, series=True, approval=True)
    yield picture_menus.options(translate, one, "public", offers)
    yield picture_menus.picture(translate, series, series.images[4], "public", offers)
    yield picture_messages.ended(translate, job_like(0), translate("ended.drafts"))
    yield picture_messages.ended(translate, job_like(state="failed"), "no", is_fault=True)
    yield picture_messages.ended(translate, job_like(state="cancelled"), "no")
    yield info_messages.info(translate, job, four, ["https://pictures.example.org/1"], [_MODEL])
    yield info_messages.gallery_page(translate, 0, [one], [preview], more=True)
    yield info_messages.queue(translate, [job_like(state="queued")], 0, None)
    yield info_messages.settings(translate, UserDefaults())
    yield info_messages.rules(translate, GuildRules(words=("cat",), channels=(7,)))
    ended = {"succeeded": 9, "failed": 1}
    yield info_messages.status(translate, ServiceStatus({"StageC": 2}, 1, 2, ended), "")
    yield notice(translate("user_error.not_admin"), FAILED_COLOUR)
    yield from _approvals(translate)
    yield from _comparison(translate)


def _approvals(translate: Translator) -> Iterator[Layout]:
    asset = Asset(
        "IMG1", "submitted", 1, JOB_ID, 0, _PROMPT, 7, 7, "discord:4", "discord:5", "bot", ""
    )
    picture = PictureFile(*_file(_COLOURS[0]), True)
    yield approval_messages.waiting(translate, asset, 4, picture, spoiler=False)
    rejected = replace(asset, state="rejected", note="the _sun_ is missing")
    yield approval_messages.decided(translate, rejected, picture, spoiler=False)
    yield approval_messages.told(translate, rejected, "https://discord.com/channels/1/2/3")
    approved = replace(asset, state="approved")
    yield approval_messages.approved(translate, [approved] * 2, [_file(_COLOURS[0])] * 2, "x.0")


def _comparison(translate: Translator) -> Iterator[Layout]:
    models = ("demo", "me/other")
    jobs = tuple(job_like(2, prompt=_PROMPT, model=model) for model in models)
    pairs = tuple(PicturePair(index, "IMG1", "IMG2") for index in range(2))
    compared = Comparison(JOB_ID, jobs, pairs)
    left, right = (PictureFile(*_file(colour), True) for colour in _COLOURS[:2])
    yield comparison_messages.pairs(translate, compared, {0: (left, right), 1: (right, left)})
    vote = Vote("left", *models, dict.fromkeys(models, 3), 1)
    yield comparison_messages.voted(translate, vote, "right")
    yield comparison_messages.incomplete(translate, compared, ["demo: no"], None)


def _shown() -> list[str]:
    translate = Translator(Catalog.load(), "en")
    names, users = {"7": "art"}, {"4": "alice", "5": "bea"}
    shown = [
        message_html(
            Seen(one.to_components(), dict(one.files), 1000.0, channels=names, users=users)
        )
        for one in _layouts(translate)
    ]
    values = EditedValues(prompt=_PROMPT, seed="7", size="256x256")
    forms = (
        RejectForm(translate, CustomId("reject", "IMG1", "1")),
        StartForm(translate, "7", 1),
        SeriesForm(translate, "modal.hero_title", CustomId("hero", JOB_ID), values),
        EditForm(translate, JOB_ID, values, (0, 2, 3)),
    )
    return [*shown, *(modal_html(form.to_dict()) for form in forms)]


async def test_every_kind_of_message_can_be_shown_with_the_words_that_it_says() -> None:
    queued, composing, four, *others = _shown()
    assert "2 ahead · done <time>in 1 minute</time>" in queued
    assert "<b>a &lt;b&gt;red&lt;/b&gt; fox</b>" in composing
    assert "Composing 9/20" in composing
    assert four.count("<img ") == 4
    assert " Edit</button>" in four
    assert "✏️ Edit</button>" in others[0]
    assert "<span class=mention>#art</span>" in "".join(others)
    assert "by <span class=mention>@alice</span> · new details of <a>this</a>" in others[0]
    assert "<pre>/imagine prompt: a &lt;b&gt;red&lt;/b&gt; fox" in "".join(others)
    assert "<div class=select>Pick a picture<span>" in others[1]
    assert "<i>Try again</i> makes" in others[4]
    assert "Picture 5 · &lt;b&gt;4&lt;/b&gt;" in others[3]
    compared, voted = others[-7:-5]
    assert compared.count("<img ") == 4
    assert [compared.count(f"{side}</button>") for side in ("Left", "Same", "Right")] == [2, 2, 2]
    assert "me/other" not in compared
    assert "Left: <b>demo</b>. Right: <b>me/other</b>." in voted
    waiting, rejected, told, approved = others[-11:-7]
    assert "<span class=mention>@alice</span> asks for approval" in waiting
    assert "✅ Approve</button>" in waiting
    assert "the \\_sun\\_ is missing" in rejected
    assert "<button" not in rejected
    assert "<a>not approved</a>" in told
    assert approved.count("<img ") == 2
    assert "<small>From 0 (the same picture) to 1" in others[-3]
    assert "a {colour} mug on a table</small>" in others[-2]
    assert "<p>○ 1</p><p>○ 2</p><p>○ 3</p><p>○ All 3</p>" in others[-1]
    assert "<label>Prompt<i> *</i></label>" in others[-1]


async def test_every_kind_of_message_is_drawn_by_chromium_on_a_phone() -> None:
    if chromium.find() is None:
        pytest.skip(chromium.NOTICE)
    drawn = chromium.draw(page(_shown(), phone=True), PHONE_PX, _HEIGHT_PX)
    assert drawn.size == (PHONE_PX, _HEIGHT_PX)
    assert 2500 < chromium.trimmed(drawn).height < _HEIGHT_PX
    pixels = {colour: count for count, colour in drawn.getcolors(1 << 24) or []}
    for colour in (*_COLOURS, WORKING_COLOUR, FAILED_COLOUR, QUIET_COLOUR, _BLURPLE):
        rgb = (colour >> 16, colour >> 8 & 255, colour & 255)
        assert pixels.get(rgb, 0) > 60, f"#{colour:06x} is nowhere to be seen"
