"""Drafts, and the pictures that people choose among them."""

from __future__ import annotations

import pytest

from cascade_core.errors import Unsupported
from cascade_core.request import GenerationRequest
from tests.wire.bot.conftest import Stage, delivered
from tests.wire.bot_messages import has_button
from tests.wire.fake_discord.messages import Message

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.usefixtures("bot")]


async def drafts(stage: Stage, **options: object) -> tuple[str, Message]:
    """Ask for drafts and wait for their sheet."""
    asked = await stage.alice.slash(stage.channel, "draft", prompt="a red fox", **options)
    job_id = await stage.submitted()
    message = await asked.reply(lambda m: has_button(m, "cancel"))
    await stage.service.fake_jobs.draft(job_id)
    await stage.fake.wait_for(lambda: has_button(message, "pick"))
    return job_id, message


def request_of(stage: Stage, job_id: str) -> GenerationRequest:
    job = stage.service.database.jobs.get(job_id)
    assert job is not None
    return job.request


async def test_drafts_are_chosen_one_after_another_and_become_the_same_pictures(
    stage: Stage,
) -> None:
    job_id, sheet = await drafts(stage, seed=7, count=4)
    asked = request_of(stage, job_id)
    assert (asked.n, asked.stop_after) == (4, "c")
    assert list(sheet.files) == [f"draft-{number}.webp" for number in range(1, 5)]
    await delivered(stage)
    for number in ("3", "1"):
        clicked = await stage.alice.click(sheet, number)
        picked_id = await stage.submitted()
        picked, image = request_of(stage, picked_id), stage.service.fake_jobs.images(job_id)
        draft = image[int(number) - 1]
        assert (picked.kind, picked.latent_id) == ("decode", draft.latent_id)
        assert picked.decoder_seed == draft.decoder_seed
        message = await clicked.reply(lambda m: "Cancel" in m.buttons)
        await stage.finished(picked_id, message)
        assert "finished from [these drafts]" in message.text


async def test_drafts_are_eight_at_most_and_as_private_and_hidden_as_asked(stage: Stage) -> None:
    _, sheet = await drafts(stage, count=8, private=True, spoiler=True)
    assert sheet.receiver == stage.alice.user
    assert len(sheet.files) == 8
    assert str(sheet.components).count("'spoiler': True") == 8
    clicked = await stage.alice.click(sheet, "8")
    picked_id = await stage.submitted()
    message = await clicked.reply(lambda m: "Cancel" in m.buttons)
    await stage.finished(picked_id, message)
    assert message.receiver == stage.alice.user
    assert "'spoiler': True" in str(message.components)


async def test_a_stranger_chooses_nothing_and_a_deleted_sheet_ends_its_job(stage: Stage) -> None:
    job_id, sheet = await drafts(stage, count=2)
    mallory = stage.fake.person("mallory", stage.channel.guild)
    refused = await (await mallory.click(sheet, "1")).reply()
    assert "another person" in refused.text
    await stage.alice.click(sheet, "Delete")
    await stage.fake.wait_for(lambda: sheet.is_deleted)
    job = stage.service.database.jobs.get(job_id)
    assert job is not None
    assert job.state == "cancelled"
    assert stage.service.submitted.empty()


async def test_drafts_are_shown_again_also_after_the_time_to_choose(stage: Stage) -> None:
    job_id, sheet = await drafts(stage, count=2, private=True)
    for _ in range(2):
        asked = await stage.alice.slash(stage.channel, "show", id=job_id)
        again = await asked.reply(lambda m: has_button(m, "pick"))
        assert list(again.files) == list(sheet.files)
        stage.service.database.jobs.finish(job_id, "succeeded", if_in=["waiting"])
    clicked = await stage.alice.click(again, "2")
    picked_id = await stage.submitted()
    message = await clicked.reply(lambda m: "Cancel" in m.buttons)
    await stage.finished(picked_id, message)


async def test_a_model_that_shows_nothing_of_compositions_is_said_to_make_no_drafts(
    stage: Stage,
) -> None:
    stage.service.fake_jobs.error = Unsupported("there is no previewer", "stop_after")
    asked = await stage.alice.slash(stage.channel, "draft", prompt="a red fox")
    told = await asked.reply(lambda m: "makes no drafts" in m.text)
    assert told.receiver == stage.alice.user


async def test_other_drafts_have_another_seed(stage: Stage) -> None:
    _, sheet = await drafts(stage, seed=7, count=2)
    await stage.alice.click(sheet, "Re-roll")
    other = request_of(stage, await stage.submitted())
    assert (other.n, other.stop_after) == (2, "c")
    assert other.seed != 7
