"""Outcomes are delivered exactly once, despite restarts, expired tokens and lost permissions."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

from tests.limits import HANG_S
from tests.wire.bot.conftest import Stage, delivered
from tests.wire.bot.shared.conftest import PUBLIC_URL
from tests.wire.bot_process import BotProcess
from tests.wire.fake_discord.rules.permissions import Permission

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.usefixtures("bot")]

WEBHOOK = r"/webhooks/\d+/[^/]+/messages/"
TOO_LARGE: dict[str, Any] = {"message": "Request entity too large", "code": 40005}


async def test_the_bot_edits_its_message_itself_once_the_token_has_died(stage: Stage) -> None:
    job_id, message = await stage.imagine()
    stage.fake.let_pass(16 * 60)
    await stage.finished(job_id, message)
    assert stage.fake.traffic.requests("PATCH", rf"^/channels/{stage.channel.id}/messages/")
    assert list(message.files.values()) == [await stage.bytes_of(job_id)]
    await delivered(stage)


async def test_an_answer_for_one_alone_comes_as_a_direct_message_after_the_token(
    stage: Stage,
) -> None:
    job_id, _ = await stage.imagine(private=True)
    stage.fake.let_pass(16 * 60)
    await stage.service.succeed(job_id)
    direct = await stage.alice.sees(stage.fake.dm(stage.alice), lambda m: "Edit" in m.buttons, 20)
    assert list(direct.files.values()) == [await stage.bytes_of(job_id)]
    assert "could not show it where you asked for it" in direct.text
    await delivered(stage)


async def test_a_bot_that_lost_its_rights_brings_the_picture_as_a_direct_message(
    stage: Stage,
) -> None:
    job_id, _ = await stage.imagine()
    stage.fake.let_pass(16 * 60)
    await stage.fake.deny(stage.channel, stage.fake.bot, Permission.VIEW_CHANNEL)
    await stage.service.succeed(job_id)
    direct = await stage.alice.sees(stage.fake.dm(stage.alice), lambda m: "Edit" in m.buttons, 20)
    assert list(direct.files.values()) == [await stage.bytes_of(job_id)]
    await delivered(stage)


async def test_a_deleted_message_is_not_written_again(stage: Stage) -> None:
    job_id, message = await stage.imagine()
    mod = stage.fake.person(
        "mod", stage.channel.guild, Permission.MANAGE_MESSAGES | Permission.VIEW_CHANNEL
    )
    await mod.delete(message)
    await stage.service.succeed(job_id)
    await delivered(stage)
    assert stage.alice.messages(stage.channel) == []


async def test_a_file_over_the_limit_is_sent_smaller_with_a_link_to_the_original(
    stage: Stage,
) -> None:
    stage.alice.user.file_limit_bytes = 1000
    assert stage.channel.guild is not None
    stage.channel.guild.file_limit_bytes = 1000
    job_id, message = await stage.picture()
    [(name, data)] = message.files.items()
    assert name.endswith(".webp")
    original = await stage.bytes_of(job_id)
    assert len(data) <= 1000 < len(original)
    [link] = re.findall(rf"Made smaller.*\({PUBLIC_URL}(\S+)\)", message.text)
    async with httpx.AsyncClient(base_url=stage.service.url, timeout=HANG_S) as stranger:
        assert (await stranger.get(link)).content == original


async def test_a_413_is_answered_with_a_smaller_file(stage: Stage) -> None:
    job_id, message = await stage.imagine()
    stage.fake.faults.add(
        "PATCH", WEBHOOK, status=413, body=TOO_LARGE, times=1, when=lambda e: bool(e.files)
    )
    await stage.finished(job_id, message)
    assert next(iter(message.files)).endswith(".webp")


async def test_a_storm_of_502_only_delays_the_result(stage: Stage) -> None:
    job_id, message = await stage.imagine()
    storm = stage.fake.faults.add("PATCH", WEBHOOK, status=502, body="bad gateway", times=2)
    await stage.finished(job_id, message)
    assert storm.used == 2
    assert list(message.files.values()) == [await stage.bytes_of(job_id)]


async def test_progress_stays_within_the_rate_limit_and_never_delays_the_result(
    stage: Stage,
) -> None:
    job_id, message = await stage.imagine()
    for step in range(1, 13):
        await stage.service.fake_jobs.show_preview(job_id, "c", step)
    edits_before = len(stage.fake.traffic.requests("PATCH", WEBHOOK))
    limited_before = len(stage.fake.traffic.requests(status=429))
    stage.fake.faults.stall("PATCH", WEBHOOK)  # a progress edit that hangs
    await stage.fake.wait_for(
        lambda: len(stage.fake.traffic.requests("PATCH", WEBHOOK)) > edits_before, 10
    )
    await stage.finished(job_id, message)
    assert len(stage.fake.traffic.requests(status=429)) == limited_before
    assert len(message.history) <= 5
    assert list(message.files.values()) == [await stage.bytes_of(job_id)]


async def test_a_429_on_progress_does_not_keep_the_result_away(stage: Stage) -> None:
    job_id, message = await stage.imagine()
    limited = stage.fake.faults.rate_limit("PATCH", WEBHOOK, 0.4)
    await stage.service.fake_jobs.show_preview(job_id, "c", 6)
    await stage.fake.wait_for(lambda: limited.used == 1)
    await stage.finished(job_id, message)


@pytest.mark.parametrize("how", ["drop", "reconnect", "invalidate"])
async def test_a_lost_gateway_loses_no_job(stage: Stage, bot: BotProcess, how: str) -> None:
    job_id, message = await stage.imagine()
    gateway = stage.fake.gateway
    losses = {
        "drop": lambda: gateway.drop(4000),
        "reconnect": gateway.ask_to_reconnect,
        "invalidate": gateway.invalidate,
    }
    await losses[how]()
    await stage.finished(job_id, message)
    await stage.fake.online()
    second_id, second = await stage.imagine("another fox")
    await stage.finished(second_id, second)
    assert bot.is_running


async def test_a_service_that_restarts_loses_no_job(stage: Stage) -> None:
    job_id, message = await stage.imagine()
    await stage.service.stop()
    await stage.service.succeed(job_id)
    await stage.service.start()
    await stage.fake.wait_for(lambda: "Edit" in message.buttons)
    await delivered(stage)
