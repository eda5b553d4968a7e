"""The real bot as its own process, between the emulated Discord and the real gateway."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.bot.gateway import Service, running_service
from tests.limits import HANG_S
from tests.wire.bot_messages import has_button
from tests.wire.bot_process import BotProcess, StartBot, starting_bots
from tests.wire.fake_discord.messages import Message
from tests.wire.fake_discord.people import Person
from tests.wire.fake_discord.server import FakeDiscord
from tests.wire.fake_discord.world import Channel


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    """The gateway; jobs advance only when a test says so."""
    async with running_service(tmp_path / "service") as service:
        yield service


@pytest.fixture
async def start_bot(fake: FakeDiscord, service: Service) -> AsyncIterator[StartBot]:
    """Starts the bot; it is online and its commands are registered when it is returned."""
    async with starting_bots(fake, service.url, service.make_key()) as start:
        yield start


@pytest.fixture
async def bot(start_bot: StartBot) -> BotProcess:
    """A running bot."""
    return await start_bot()


@dataclass
class Stage:
    """A service, a channel and a person in it, with helpers for the steps of tests."""

    service: Service
    fake: FakeDiscord
    channel: Channel
    alice: Person

    async def submitted(self) -> str:
        """Return the id of the next job that the service accepts."""
        async with asyncio.timeout(HANG_S):
            return await self.service.submitted.get()

    async def imagine(self, prompt: str = "a red fox", **options: Any) -> tuple[str, Message]:
        """Request a picture; returns the job's id and its live message."""
        asked = await self.alice.slash(self.channel, "imagine", prompt=prompt, **options)
        job_id = await self.submitted()
        return job_id, await asked.reply(lambda m: has_button(m, "cancel"))

    async def finished(self, job_id: str, message: Message) -> Message:
        """Let a job succeed and wait for its pictures in a message."""
        await self.service.succeed(job_id)
        await self.fake.wait_for(lambda: has_button(message, "edit"))
        return message

    async def picture(self, prompt: str = "a red fox", **options: Any) -> tuple[str, Message]:
        """Request a picture and wait for it."""
        job_id, message = await self.imagine(prompt, **options)
        return job_id, await self.finished(job_id, message)

    async def menu(self, message: Message, button: str) -> Message:
        """Open a menu of a picture's message and wait for it."""
        opened = await (await self.alice.click(message, button)).reply()
        assert opened.receiver == self.alice.user
        return opened

    async def bytes_of(self, job_id: str, index: int = 0) -> bytes:
        """Return a picture's bytes as the service has them."""
        image = self.service.fake_jobs.images(job_id)[index]
        return await self.service.fake_jobs.blobs.get(f"images/{image.id}.png")


async def in_inbox(stage: Stage) -> list[str]:
    jobs, _ = stage.service.database.jobs.page(inbox=f"discord.{stage.fake.bot.id}")
    return [job.id for job in jobs]


async def delivered(stage: Stage) -> None:
    """Wait until nothing is in the bot's inbox."""
    async with asyncio.timeout(HANG_S):
        while await in_inbox(stage):  # noqa: ASYNC110 - the service has no event for this
            await asyncio.sleep(0.02)


@pytest.fixture
def stage(service: Service, fake: FakeDiscord, channel: Channel, alice: Person) -> Stage:
    return Stage(service, fake, channel, alice)
