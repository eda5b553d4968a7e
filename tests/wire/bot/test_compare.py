"""``/compare``: pairs of pictures of two models, and blind votes on them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from cascade_core.errors import Internal, RateLimited
from cascade_core.families.stable_cascade import STABLE_CASCADE
from serve.served_models import Models, OpenModel
from tests.bot.gateway import CHECKPOINT, Service, running_service
from tests.wire.bot.conftest import Stage, delivered, in_inbox
from tests.wire.bot_messages import has_button, of_bot
from tests.wire.bot_process import StartBot
from tests.wire.fake_discord.messages import Message
from tests.wire.fake_discord.rules.permissions import Permission

NAMES = {"demo", "me/other"}
MODERATES = Permission.MANAGE_MESSAGES | Permission.VIEW_CHANNEL
MANAGES = Permission.MANAGE_GUILD | Permission.VIEW_CHANNEL


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    async with running_service(tmp_path / "service") as service:
        services = service.app.state.services
        other = OpenModel(
            STABLE_CASCADE.served_as("other"),
            replace(
                CHECKPOINT,
                id="me/other",
                fingerprint="f2",
                defaults=replace(CHECKPOINT.defaults, steps=5),
            ),
        )
        services.models = Models([services.models.default, other])
        yield service


async def compared(stage: Stage, **options: object) -> tuple[list[str], Message]:
    """Ask for a comparison; returns the ids of its jobs and the message of its progress."""
    asked = await stage.alice.slash(stage.channel, "compare", prompt="a red fox", **options)
    jobs = [await stage.submitted() for _ in range(2)]
    return jobs, await asked.reply(lambda m: has_button(m, "cancel"))


async def paired(stage: Stage, **options: object) -> Message:
    """Return the message of a comparison whose jobs have succeeded."""
    jobs, message = await compared(stage, **options)
    for job_id in jobs:
        await stage.service.succeed(job_id)
    await stage.fake.wait_for(lambda: has_button(message, "vote"))
    return message


def models_of(stage: Stage, jobs: list[str]) -> list[str | None]:
    found = [stage.service.database.jobs.get(job_id) for job_id in jobs]
    return [job.request.model for job in found if job is not None]


@pytest.mark.usefixtures("bot")
async def test_pairs_of_two_models_are_shown_without_telling_which_is_which(stage: Stage) -> None:
    jobs, message = await compared(stage, count=2, seed=7)
    assert set(models_of(stage, jobs)) == NAMES
    assert not any(name in message.text for name in NAMES)
    await stage.service.succeed(jobs[0])
    await stage.service.succeed(jobs[1])
    await stage.fake.wait_for(lambda: has_button(message, "vote"))
    assert sorted(message.files) == ["left-1.png", "left-2.png", "right-1.png", "right-2.png"]
    assert not any(name in message.text for name in NAMES)
    assert not any(b"me/other" in data or b"cascade" in data for data in message.files.values())
    await delivered(stage)
    assert of_bot(stage.fake) == [message]


@pytest.mark.usefixtures("bot")
async def test_a_vote_tells_the_voter_alone_what_was_what_and_the_first_one_counts(
    stage: Stage,
) -> None:
    message = await paired(stage)
    bob = stage.fake.person("bob", stage.channel.guild)
    told = await (await bob.click(message, "Left")).reply()
    assert told.receiver == bob.user
    assert all(name in told.text for name in NAMES)
    again = await (await bob.click(message, "Right")).reply()
    assert "Your first vote counts: **Left**." in again.text
    last = await (await stage.alice.click(message, "Same")).reply()
    assert "Same: 1" in last.text
    assert not any(name in message.text for name in NAMES)


async def test_what_ended_while_the_bot_was_dead_is_shown_once_and_buttons_still_work(
    stage: Stage, start_bot: StartBot
) -> None:
    bot = await start_bot()
    jobs, message = await compared(stage)
    await stage.service.succeed(jobs[0])
    await bot.kill()
    await start_bot()
    await stage.service.succeed(jobs[1])
    await stage.fake.wait_for(lambda: has_button(message, "vote"))
    await delivered(stage)
    assert of_bot(stage.fake) == [message]
    assert "Right:" in (await (await stage.alice.click(message, "Right")).reply()).text


@pytest.mark.usefixtures("bot")
async def test_cancel_ends_all_jobs_of_a_comparison(stage: Stage) -> None:
    jobs, message = await compared(stage)
    await stage.alice.click(message, "Cancel")
    await stage.fake.wait_for(lambda: has_button(message, "delete"))
    states = [stage.service.database.jobs.get(job_id) for job_id in jobs]
    assert {job.state for job in states if job} == {"cancelled"}
    assert message.text.count("Cancelled.") == 2
    await delivered(stage)


@pytest.mark.usefixtures("bot")
async def test_a_job_that_fails_is_named_with_its_model_and_there_is_no_vote(stage: Stage) -> None:
    jobs, message = await compared(stage)
    await stage.service.succeed(jobs[0])
    stage.service.fake_jobs.finish(jobs[1], "failed", Internal("broken"))
    await stage.fake.wait_for(lambda: has_button(message, "delete"))
    assert "me/other: Something went wrong" in message.text
    assert not has_button(message, "vote")
    await delivered(stage)


async def test_a_comparison_that_was_refused_in_part_is_delivered_no_more(
    stage: Stage, start_bot: StartBot
) -> None:
    bot = await start_bot()
    fake_jobs = stage.service.fake_jobs

    async def refuse_the_next(_job_id: str) -> None:
        fake_jobs.error = RateLimited("too many")

    fake_jobs.on_submit = refuse_the_next
    asked = await stage.alice.slash(stage.channel, "compare", prompt="a red fox")
    assert "a lot of pictures at once" in (await asked.reply(lambda m: "at once" in m.text)).text
    await bot.kill()
    assert await in_inbox(stage) == []


@pytest.mark.usefixtures("bot")
async def test_a_moderator_may_cancel_what_goes_on_after_the_first_job(stage: Stage) -> None:
    jobs, message = await compared(stage)
    await stage.service.succeed(jobs[0])
    second = stage.service.database.jobs.get(jobs[1])
    assert second is not None
    boss = stage.fake.person("boss", stage.channel.guild, MODERATES)
    await boss.click(message, "Cancel")
    await stage.fake.wait_for(lambda: has_button(message, "delete"))
    assert "me/other: Cancelled." in message.text


@pytest.mark.usefixtures("bot")
async def test_delete_of_one_shown_picture_leaves_the_others(stage: Stage) -> None:
    await paired(stage)
    found, _ = stage.service.database.jobs.page()
    first = next(job for job in found if job.request.model == "demo")
    shown = await (await stage.alice.slash(stage.channel, "show", id=first.id)).reply()
    await stage.alice.click(shown, "Delete")
    await stage.fake.wait_for(lambda: deleted(stage, first.id) == [True])
    (other,) = (job for job in found if job.id != first.id)
    assert deleted(stage, other.id) == [False]


def deleted(stage: Stage, job_id: str) -> list[bool]:
    return [image.deleted_at is not None for image in stage.service.fake_jobs.images(job_id)]


@pytest.mark.usefixtures("bot")
async def test_delete_takes_the_pictures_of_both_models_and_the_message(stage: Stage) -> None:
    message = await paired(stage)
    await stage.alice.click(message, "Delete")
    await stage.fake.wait_for(lambda: of_bot(stage.fake) == [])
    found, _ = stage.service.database.jobs.page()
    assert all(image.deleted_at is not None for job in found for image in job.images)


@pytest.mark.usefixtures("bot")
async def test_two_different_models_are_needed(stage: Stage) -> None:
    asked = await stage.alice.slash(
        stage.channel, "compare", prompt="a fox", first="demo", second="demo"
    )
    assert "two different models" in (await asked.reply()).text
    asked = await stage.alice.slash(stage.channel, "compare", prompt="a fox", first="gone")
    assert "“gone” is not one of the values of `first`" in (await asked.reply()).text
    assert stage.service.submitted.empty()


@pytest.mark.usefixtures("bot")
async def test_where_steps_are_limited_each_model_takes_its_own_or_the_limit(stage: Stage) -> None:
    boss = stage.fake.person("boss", stage.channel.guild, MANAGES)
    await (await boss.slash(stage.channel, "admin limits", steps=9)).reply()
    jobs, _ = await compared(stage)
    found = [stage.service.database.jobs.get(job_id) for job_id in jobs]
    assert {job.request.model: job.request.steps for job in found if job} == {
        "demo": 9,
        "me/other": 5,
    }


@pytest.mark.usefixtures("bot")
async def test_a_servers_rules_hold_for_comparisons_too(stage: Stage) -> None:
    boss = stage.fake.person("boss", stage.channel.guild, MANAGES)
    blocked = await boss.slash(stage.channel, "admin blocklist", add="fox")
    await blocked.reply()
    asked = await stage.alice.slash(stage.channel, "compare", prompt="a red fox")
    assert "does not allow “fox”" in (await asked.reply()).text
    assert stage.service.submitted.empty()
