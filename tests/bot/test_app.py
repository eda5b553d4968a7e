"""The bot in simcord, an independent model of Discord in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import simcord

from bot.app import CascadeBot
from bot.commands import option_checks
from bot.service.client import CascadeClient
from bot.settings import load_settings
from bot.telemetry.metrics import Metrics
from bot.text.catalog import Catalog
from tests.bot.gateway import Service, running_service
from tests.limits import HANG_S


@pytest_asyncio.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    """The gateway; it makes whatever is asked for at once."""
    async with running_service(tmp_path) as service:
        service.fake_jobs.on_submit = service.fake_jobs.run
        yield service


def new_bot(client: CascadeClient) -> CascadeBot:
    return CascadeBot(load_settings(token="t", sync=False), client, Catalog.load(), Metrics())


@asynccontextmanager
async def discord_with_bot(service: Service) -> AsyncIterator[tuple[Any, CascadeClient]]:
    client = CascadeClient(service.url, service.make_key(), budget_s=5.0)
    bot = new_bot(client)
    async with simcord.run(bot, shard_count=1, strict_sync=False, settle_timeout=HANG_S) as env:
        bot.begin()
        yield env, client
    await client.close()


def words(components: list[dict[str, Any]]) -> str:
    found = []
    for part in components:
        found.append(part.get("content", ""))
        found.append(words(part.get("components", [])))
    return "\n".join(filter(None, found))


async def until_delivered(channel: Any, count: int = 1) -> Any:
    """Wait until so many messages of the channel have pictures; returns the newest one."""
    async with asyncio.timeout(HANG_S):
        while True:
            done = [m for m in channel.history() if has_button(m, "edit")]
            if len(done) >= count:
                return done[-1]
            await asyncio.sleep(0.02)


def has_button(message: Any, action: str) -> bool:
    return f"v1:{action}:" in str([part.to_dict() for part in message.components])


async def test_imagine_vary_edit_and_info(service: Service) -> None:
    async with discord_with_bot(service) as (env, _client):
        channel = env.create_guild().create_text_channel("general")
        alice = channel.guild.add_member(env.create_user("alice"))
        await alice.slash(channel, "imagine", prompt="a red fox", private=False)
        message = await until_delivered(channel)
        assert (await message.attachments[0].read()).startswith(b"\x89PNG")
        await alice.click(message, label="Vary details")
        varied = await until_delivered(channel, 2)
        told = words([part.to_dict() for part in varied.components])
        link = f"https://discord.com/channels/{channel.guild.id}/{channel.id}/{message.id}"
        assert f"by <@{alice.id}> · new details of [this]({link})" in told
        opened = await alice.click(message, label="Edit")
        assert "a red fox" in str(opened.modal)
        await alice.submit_modal(opened, {"prompt": "a blue fox", "seed": "9"})
        edited = await until_delivered(channel, 3)
        assert "a blue fox" in words([part.to_dict() for part in edited.components])
        menu = await alice.click(message, label="More…")
        assert menu.ephemeral
        told = await alice.click(menu.response, label="Info")
        assert told.ephemeral
        assert "12 to compose" in words(told.response.components)


async def test_buttons_work_in_a_new_bot_and_suggestions_come(service: Service) -> None:
    async with discord_with_bot(service) as (env, client):
        channel = env.create_guild().create_text_channel("general")
        alice = channel.guild.add_member(env.create_user("alice"))
        await alice.slash(channel, "imagine", prompt="a red fox", aspect="wide", private=False)
        message = await until_delivered(channel)
        offered = await alice.autocomplete(channel, "imagine", "prompt", "ring")
        assert [choice["value"] for choice in offered] == ["a blue ring"]
        reborn = new_bot(client)
        await env.restart_bot(reborn)
        reborn.begin()
        await alice.click(message, label="Vary details")
        again = await until_delivered(channel, 2)
        assert again.id != message.id


async def test_menus_and_rules_keep_to_rights(service: Service) -> None:
    async with discord_with_bot(service) as (env, _client):
        channel = env.create_guild().create_text_channel("general")
        alice = channel.guild.add_member(env.create_user("alice"))
        mallory = channel.guild.add_member(env.create_user("mallory"))
        await alice.slash(channel, "imagine", prompt="a red fox", private=False)
        message = await until_delivered(channel)
        told = await mallory.context_menu(channel, "Image info", message)
        assert "a red fox" in words(told.response.components)
        refused = await mallory.click(message, label="Vary details")
        assert refused.ephemeral
        assert "another person" in words(refused.response.components)
        assert len([m for m in channel.history() if has_button(m, "edit")]) == 1


async def test_a_fault_in_the_check_of_options_is_told_like_any_other(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stumble(_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(option_checks, "check", stumble)
    async with discord_with_bot(service) as (env, _client):
        channel = env.create_guild().create_text_channel("general")
        alice = channel.guild.add_member(env.create_user("alice"))
        asked = await alice.slash(channel, "imagine", prompt="a red fox", private=False)
        assert "Something went wrong on our side" in words(asked.response.components)
        assert [type(fault.__cause__) for fault in env.errors] == [ZeroDivisionError]
