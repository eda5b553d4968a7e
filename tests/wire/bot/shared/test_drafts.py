"""Drafts, and the pictures that people choose among them."""

from __future__ import annotations

import pytest

from cascade_core.errors import Unsupported
from cascade_core.request import GenerationRequest
from serve.storage.blobs.blob_keys import preview_key_from_name
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


def kept_latents(stage: Stage, job_id: str) -> list[bool]:
    """Return for each image of a job whether its latent is still there."""
    images, store = stage.service.fake_jobs.images(job_id), stage.service.database.images
    latents = [store.latent(image.latent_id) for image in images]
    return [latent is not None and latent.deleted_at is None for latent in latents]


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
    assert kept_latents(stage, job_id) == [False, False]
    assert stage.service.submitted.empty()


async def test_a_sheet_takes_along_its_drafts_but_those_that_became_pictures(stage: Stage) -> None:
    job_id, sheet = await drafts(stage, count=3)
    clicked = await stage.alice.click(sheet, "2")
    picked_id = await stage.submitted()
    picture = await clicked.reply(lambda m: "Cancel" in m.buttons)
    await stage.finished(picked_id, picture)
    stage.service.database.jobs.finish(job_id, "succeeded", if_in=["waiting"])
    await stage.alice.click(sheet, "Delete")
    await stage.fake.wait_for(lambda: sheet.is_deleted)
    assert kept_latents(stage, job_id) == [False, True, False]
    told = await (await stage.alice.slash(stage.channel, "show", id=job_id)).reply()
    assert "no longer available" in told.text
    assert "Vary details" in picture.buttons


async def forget_previews(stage: Stage, job_id: str, *indices: int) -> None:
    """Delete previews as the service's retention does."""
    for index in indices:
        preview = stage.service.fake_jobs.images(job_id)[index].preview
        assert preview is not None
        await stage.service.fake_jobs.blobs.delete(preview_key_from_name(job_id, preview))


async def test_drafts_without_previews_are_left_out_and_can_be_made_again(stage: Stage) -> None:
    job_id, _ = await drafts(stage, count=2, seed=7)
    await forget_previews(stage, job_id, 0)
    asked = await stage.alice.slash(stage.channel, "show", id=job_id)
    sheet = await asked.reply(lambda m: has_button(m, "pick"))
    assert sheet.buttons["1"]["custom_id"] == f"v1:pick:{job_id}:1"
    assert "2" not in sheet.buttons
    await forget_previews(stage, job_id, 1)
    asked = await stage.alice.slash(stage.channel, "show", id=job_id)
    told = await asked.reply(lambda m: has_button(m, "again"))
    assert "The previews of these drafts are no longer stored" in told.text
    assert list(told.buttons) == ["Try again", "Delete"]
    await stage.alice.click(told, "Try again")
    assert request_of(stage, await stage.submitted()) == request_of(stage, job_id)
    await stage.alice.click(told, "Delete")
    await stage.fake.wait_for(lambda: told.is_deleted)
    assert kept_latents(stage, job_id) == [False, False]


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
