"""Pictures that are made again or edited, and their messages in the meantime."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cascade_core.errors import Internal
from cascade_core.request import GenerationRequest
from tests.wire.bot.conftest import Stage
from tests.wire.bot_messages import opened_form
from tests.wire.fake_discord.messages import walk

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.usefixtures("bot")]


def request_of(stage: Stage, job_id: str) -> GenerationRequest:
    job = stage.service.database.jobs.get(job_id)
    assert job is not None
    return job.request


async def test_try_again_after_a_cancel_asks_for_the_same(stage: Stage) -> None:
    job_id, message = await stage.imagine(seed=7, negative="text", count=2, spoiler=True)
    await stage.alice.click(message, "Cancel")
    await stage.fake.wait_for(lambda: "Try again" in message.buttons)
    clicked = await stage.alice.click(message, "Try again")
    again_id = await stage.submitted()
    assert request_of(stage, again_id) == request_of(stage, job_id)
    shown = await clicked.reply(lambda m: "Cancel" in m.buttons)
    await stage.finished(again_id, shown)
    assert "another try at" in shown.text
    assert str(shown.components).count("'spoiler': True") == 2


async def test_try_again_of_a_failed_variation_is_that_variation(stage: Stage) -> None:
    job_id, message = await stage.picture(seed=7)
    clicked = await stage.alice.click(message, "Vary details")
    varied = await clicked.reply(lambda m: "Cancel" in m.buttons)
    varied_id = await stage.submitted()
    stage.service.fake_jobs.finish(varied_id, "failed", Internal("x"))
    await stage.fake.wait_for(lambda: "Try again" in varied.buttons)
    clicked = await stage.alice.click(varied, "Try again")
    again_id = await stage.submitted()
    asked = request_of(stage, again_id)
    assert asked == request_of(stage, varied_id)
    assert (asked.kind, asked.latent_id) == (
        "vary_details",
        stage.service.fake_jobs.images(job_id)[0].latent_id,
    )
    await stage.finished(again_id, await clicked.reply(lambda m: "Cancel" in m.buttons))


async def test_an_unchanged_edit_of_a_variation_is_the_same_picture(stage: Stage) -> None:
    _, message = await stage.picture(seed=7)
    clicked = await stage.alice.click(message, "Vary details")
    varied_id = await stage.submitted()
    varied = await stage.finished(varied_id, await clicked.reply(lambda m: "Cancel" in m.buttons))
    details = request_of(stage, varied_id).decoder_seed
    assert f"Seed `7` · details `{details}`" in varied.text
    opened = await (await stage.alice.click(varied, "Edit")).acked()
    assert opened.prefilled["Seed (empty: a new one)"] == "7"
    await stage.alice.submit(opened)
    asked = request_of(stage, await stage.submitted())
    original = request_of(stage, varied_id)
    assert asked == replace(original, kind="generate", latent_id=None)


async def test_one_picture_of_a_grid_is_edited_with_its_own_seed(stage: Stage) -> None:
    _, message = await stage.picture(seed=7, count=4)
    opened = await (await stage.alice.click(message, "Edit")).acked()
    assert opened.modal is not None
    [choice] = [one for one in walk(opened.modal["components"]) if one["type"] == 21]
    assert [one["label"] for one in choice["options"]] == ["1", "2", "3", "4", "All 4"]
    assert choice["required"]
    await stage.alice.submit(opened, which="2", prompt="a blue fox")
    asked = request_of(stage, await stage.submitted())
    assert (asked.prompt, asked.seed, asked.n) == ("a blue fox", 9, 1)


async def test_the_edit_form_has_the_whole_of_a_long_negative_prompt(stage: Stage) -> None:
    long = "blur " * 60
    _, message = await stage.picture(negative=long)
    assert long.strip() not in message.text
    opened = await opened_form(lambda: stage.alice.click(message, "Edit"))
    assert opened.prefilled["Without"] == long.strip()


async def test_numbers_are_places_after_a_deletion(stage: Stage) -> None:
    job_id, message = await stage.picture(count=4)
    await stage.alice.click(message, "Delete")
    await stage.fake.wait_for(lambda: "2" in message.buttons)
    await stage.alice.click(message, "2")
    await stage.fake.wait_for(lambda: len(message.files) == 3)
    assert list(message.buttons)[:3] == ["V1", "V2", "V3"]
    await stage.alice.click(message, "V2")
    asked = request_of(stage, await stage.submitted())
    assert asked.latent_id == stage.service.fake_jobs.images(job_id)[2].latent_id


async def test_what_the_model_did_not_read_is_said_under_the_picture(stage: Stage) -> None:
    job_id, message = await stage.imagine("a long prompt")
    warning = "only the first 75 tokens of the prompt are used"
    stage.service.database.jobs.add_warnings(job_id, [warning])
    await stage.finished(job_id, message)
    assert "-# ⚠️ The model read only the first 75 tokens" in message.text


async def test_the_message_says_once_that_the_service_is_away_and_tells_no_past_time(
    stage: Stage,
) -> None:
    job_id, message = await stage.imagine()
    await stage.service.fake_jobs.show_preview(job_id, "c", 6)
    await stage.fake.wait_for(lambda: "Composing 6/12" in message.text)
    await stage.service.stop()
    await stage.fake.wait_for(lambda: "does not answer" in message.text)
    assert "<t:" not in message.text
    assert list(message.files) == ["preview-0-c-6.webp"]
    await stage.service.start()
    await stage.fake.wait_for(lambda: "Composing 6/12" in message.text)
    await stage.finished(job_id, message)
    assert ["does not answer" in one.text for one in message.history].count(True) == 1
