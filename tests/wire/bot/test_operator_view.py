"""What an operator of the bot sees: invite links, command sync, health and metrics."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta

import httpx
from sqlalchemy import update

from serve.storage.schema.tables import jobs
from tests.bot.gateway import Service
from tests.limits import HANG_S
from tests.wire.bot.conftest import Stage
from tests.wire.bot_process import StartBot, running_bot
from tests.wire.fake_discord.server import FakeDiscord

FOR_SERVERS = 1 << 10 | 1 << 11 | 1 << 15 | 1 << 16 | 1 << 38
"""View channels, send messages, attach files, read the history, send in threads."""


async def test_install_links_ask_for_what_the_bot_needs_and_no_more(fake: FakeDiscord) -> None:
    async with running_bot(fake, "bot", "invite") as invite:
        assert await invite.ended() == 0
    links = [httpx.URL(line.split()[-1]) for line in invite.log if "https://" in line]
    asked = [dict(link.params) | {"path": link.path} for link in links]
    same = {"path": "/oauth2/authorize", "client_id": fake.bot.id}
    commands = "applications.commands"
    assert [one | same == one for one in asked] == [True, True]
    assert [set(one["scope"].split()) for one in asked] == [{"bot", commands}, {commands}]
    assert [one["integration_type"] for one in asked] == ["0", "1"]
    assert int(asked[0]["permissions"]) == FOR_SERVERS


async def test_commands_put_in_place_by_hand_are_not_put_again_at_the_start(
    fake: FakeDiscord, service: Service, start_bot: StartBot
) -> None:
    env = {"CASCADE_URL": service.url, "CASCADE_API_KEY": service.make_key()}
    async with running_bot(fake, "bot", "sync", env=env) as sync:
        assert await sync.ended() == 0
    assert sync.log[-1] == f"{len(fake.commands[None])} commands are registered"
    bot = await start_bot()
    assert await bot.terminate() == 0
    assert len(fake.traffic.requests("PUT", "/commands$")) == 1


async def test_metrics_follow_what_goes_over_the_wire(
    stage: Stage, start_bot: StartBot, unused_tcp_port: int
) -> None:
    await start_bot(BOT_HTTP_PORT=str(unused_tcp_port))
    await stage.fake.gateway.drop(4000)
    await stage.fake.wait_for(lambda: bool(stage.fake.traffic.events("RESUMED")))
    job_id, message = await stage.imagine()
    await stage.service.fake_jobs.show_preview(job_id, "c", 6)
    await stage.fake.wait_for(lambda: bool(message.files))
    await stage.finished(job_id, message)
    callback = "/api/v10/interactions/:id/:token/callback"
    counted = {
        "cascade_bot_ack_seconds_count": 1,
        'cascade_bot_deliveries_total{way="edited"}': 1,
        'cascade_bot_interactions_total{end="done",name="imagine"}': 1,
        f'cascade_bot_discord_requests_total{{method="POST",route="{callback}",status="200"}}': 1,
        'cascade_bot_gateway_events_total{event="resumed"}': 1,
    }
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{unused_tcp_port}") as http:
        async with asyncio.timeout(HANG_S):
            while not counted.items() <= (await metrics(http)).items():  # noqa: ASYNC110
                await asyncio.sleep(0.02)  # the delivery is counted once the service knows of it
        assert (await metrics(http))['cascade_bot_edits_total{outcome="sent"}'] >= 1
        assert [(await http.get(path)).status_code for path in ("/healthz", "/readyz")] == [200] * 2


async def metrics(http: httpx.AsyncClient) -> dict[str, float]:
    text = (await http.get("/metrics")).text
    return {name: float(value) for name, value in re.findall(r"(?m)^(\w\S*) (\S+)$", text)}


async def test_where_a_late_picture_could_not_be_brought_a_long_queue_is_refused(
    stage: Stage, start_bot: StartBot
) -> None:
    await start_bot()
    job_id, _ = await stage.picture()
    made = stage.service.database.jobs.get(job_id)
    assert made is not None
    assert made.finished_at is not None
    slow = update(jobs).values(started_at=made.finished_at - timedelta(hours=1))
    with stage.service.database.writing() as connection:
        connection.execute(slow)
    bea = stage.fake.person("bea", has_app=True)
    elsewhere = stage.fake.private_channel(bea, stage.fake.person("cem"))
    asked = await bea.slash(elsewhere, "imagine", prompt="a late fox")
    refused = await asked.reply(lambda m: "queue is long" in m.text)
    assert refused.receiver == bea.user
    # The refusal does not wait for the job's cancellation.
    await asyncio.wait_for(stage.service.fake_jobs.ended(await stage.submitted()), HANG_S)
    assert stage.service.database.jobs.open_ids() == []
    await stage.imagine("a fox that may be late")
