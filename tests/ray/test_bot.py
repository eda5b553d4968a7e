"""The bot's process between the emulated Discord and the service as it runs on Ray."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import pytest_asyncio

from serve.local.running import Running
from serve.settings import Settings
from tests.limits import HANG_S
from tests.ray.client import Event, ServiceClient, replica_process
from tests.ray.shared_cluster import SharedCluster
from tests.wire.bot_messages import has_button, job_of, of_bot
from tests.wire.bot_process import BotProcess, StartBot, starting_bots
from tests.wire.fake_discord.interactions import Callback, Interaction
from tests.wire.fake_discord.messages import Message
from tests.wire.fake_discord.oracle import Oracle
from tests.wire.fake_discord.people import Person
from tests.wire.fake_discord.server import FakeDiscord
from tests.wire.fake_discord.world import Channel
from tests.wire.judged import judged_discord

pytestmark = pytest.mark.asyncio(loop_scope="module")

PROMPT = "a large red circle in the center on a white background"
LONG_STEPS = 100
STAGES = ("StageC", "StageB", "StageA")


@dataclass
class Scene:
    """A running bot, a channel and a person in it, and the service."""

    fake: FakeDiscord
    service: ServiceClient
    start_bot: StartBot
    bot: BotProcess
    channel: Channel
    alice: Person

    async def restart_bot(self) -> None:
        """Start the bot that was killed again."""
        self.bot = await self.start_bot()

    async def imagine(self, **options: Any) -> tuple[str, Message]:
        """Request a picture; returns the job's id and its live message."""
        asked = await self.alice.slash(self.channel, "imagine", prompt=PROMPT, **options)
        message = await asked.reply(lambda m: has_button(m, "cancel"), HANG_S)
        return job_of(message), message

    async def picture(self, **options: Any) -> tuple[dict[str, Any], Message]:
        """Request a picture and wait for it; returns the job and its message."""
        job_id, message = await self.imagine(**options)
        return await self.arrived(job_id, message), message

    async def arrived(self, job_id: str, message: Message) -> dict[str, Any]:
        """Wait until a job's message shows its pictures, exactly once; returns the job."""
        await self.fake.wait_for(lambda: has_button(message, "edit"), HANG_S)
        await self._delivered(job_id)
        job: dict[str, Any] = await asyncio.to_thread(self.service.job, job_id)
        originals = [await self.get(f"/v1/images/{image['id']}") for image in job["images"]]
        assert originals
        assert list(message.files.values()) == originals
        assert [m for m in of_bot(self.fake) if job_of(m) == job_id] == [message]
        uploads = [f for e in self.fake.traffic.rest for f in e.files.values()]
        brought = [upload.content for upload in uploads if upload.content in originals]
        assert brought == originals
        return job

    async def reply_with_picture(self, clicked: Interaction) -> dict[str, Any]:
        """Wait for the pictures that a click requested; returns the job."""
        message = await clicked.reply(lambda m: has_button(m, "edit"), HANG_S)
        return await self.arrived(job_of(message), message)

    async def get(self, path: str) -> bytes:
        """Return what the service has at a path."""
        answer = await asyncio.to_thread(self.service.http.get, path)
        return answer.raise_for_status().content

    async def events(self, job_id: str) -> list[Event]:
        """Return all events of a job, to its end."""
        return await asyncio.to_thread(lambda: list(self.service.events(job_id)))

    async def until_progress(self, job_id: str, stage: str) -> None:
        """Wait until a job is at a stage's steps; the bot shows it before it is accepted."""
        await asyncio.to_thread(self.service.wait_until_accepted, job_id)
        await asyncio.to_thread(self.service.until, job_id, "progress", stage)

    async def _delivered(self, job_id: str) -> None:
        inbox = {"inbox": f"discord.{self.fake.bot.id}"}
        async with asyncio.timeout(HANG_S):
            while True:
                answer = await asyncio.to_thread(self.service.http.get, "/v1/jobs", params=inbox)
                if job_id not in [job["id"] for job in answer.json()["jobs"]]:
                    return
                await asyncio.sleep(0.05)  # the service has no event for this


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(running: Running, oracle: Oracle | None) -> AsyncIterator[Scene]:
    async with judged_discord(oracle) as fake:
        guild = fake.guild()
        channel, alice = fake.channel(guild), fake.person("alice", guild)
        with httpx.Client(base_url=running.url, timeout=HANG_S) as http:
            async with starting_bots(fake, running.url) as start_bot:
                bot = await start_bot()
                yield Scene(fake, ServiceClient(http), start_bot, bot, channel, alice)


@contextmanager
def standing_still(*deployments: str) -> Iterator[None]:
    """Stop the deployments' processes, and let them go on when the block is left."""
    with ExitStack() as stack:
        for deployment in deployments:
            process = replica_process(deployment)
            process.send_signal(signal.SIGSTOP)
            stack.callback(process.send_signal, signal.SIGCONT)
        yield


def check_only_details_are_new(
    first: dict[str, Any], varied: dict[str, Any], events: list[Event]
) -> None:
    assert varied["id"] != first["id"]
    assert varied["kind"] == "vary_details"
    [image], [original] = varied["images"], first["images"]
    assert image["id"] != original["id"]
    assert (image["latent_id"], image["seed"]) == (original["latent_id"], original["seed"])
    assert image["decoder_seed"] != original["decoder_seed"]
    assert image["stage_c"] == "stored"
    assert varied["cost"]["c_s"] == 0 < varied["cost"]["b_s"]
    assert {e.data["stage"] for e in events if e.type == "progress"} <= {"b", "a"}


async def test_a_prompt_shows_composition_and_details_and_then_the_bytes_of_the_service(
    scene: Scene,
) -> None:
    with standing_still("StageA"):
        job_id, message = await scene.imagine(steps=LONG_STEPS)
        await scene.until_progress(job_id, "c")
        with standing_still("StageC"):
            await scene.fake.wait_for(lambda: "Composing" in message.text, HANG_S)
        await scene.fake.wait_for(lambda: "Adding details" in message.text, HANG_S)
        [(name, preview)] = message.files.items()
    job = await scene.arrived(job_id, message)
    assert job["images"][0]["stage_c"] == "ran"
    paths = [e.data.get("preview_url", "") for e in await scene.events(job_id)]
    [path] = [one for one in paths if name == f"preview-{one.rpartition('/')[2]}"]
    assert preview == await scene.get(path)


async def test_vary_details_draws_the_stored_composition_anew(scene: Scene) -> None:
    first, message = await scene.picture()
    varied = await scene.reply_with_picture(await scene.alice.click(message, "Vary details"))
    check_only_details_are_new(first, varied, await scene.events(varied["id"]))
    assert list(message.files.values()) == [
        await scene.get(f"/v1/images/{first['images'][0]['id']}")
    ]


async def test_a_click_is_acknowledged_while_the_whole_service_stands_still(scene: Scene) -> None:
    first, message = await scene.picture()
    with standing_still("Gateway", "Jobs", *STAGES):
        clicked = await scene.alice.click(message, "Vary details")
        await clicked.acked()
        assert clicked.ack is Callback.DEFERRED_MESSAGE
        assert [reply.is_loading for reply in clicked.replies] == [True]
    varied = await scene.reply_with_picture(clicked)
    check_only_details_are_new(first, varied, await scene.events(varied["id"]))


async def test_cancel_ends_the_job_and_leaves_the_replica_to_the_next(scene: Scene) -> None:
    job_id, message = await scene.imagine(steps=LONG_STEPS, count=4)
    await scene.until_progress(job_id, "c")
    await scene.alice.click(message, "Cancel")
    await scene.fake.wait_for(lambda: "Cancelled" in message.text, HANG_S)
    assert list(message.buttons) == ["Try again", "Delete"]
    await scene.picture()
    events = await scene.events(job_id)
    assert [events[-1].type, events[-1].data["job"]["images"]] == ["cancelled", []]


async def test_a_bot_killed_while_a_job_runs_delivers_afterwards_and_once(scene: Scene) -> None:
    job_id, message = await scene.imagine(steps=LONG_STEPS, count=2)
    await scene.until_progress(job_id, "c")
    await scene.bot.kill()
    job = await asyncio.to_thread(scene.service.finished, job_id)
    assert job["state"] == "succeeded"
    await scene.restart_bot()
    await scene.arrived(job_id, message)


async def test_a_job_whose_owner_is_killed_arrives_once(scene: Scene) -> None:
    job_id, message = await scene.imagine(steps=LONG_STEPS)
    await scene.until_progress(job_id, "c")
    replica_process("Jobs").kill()
    await scene.arrived(job_id, message)


async def test_vary_details_works_on_under_a_new_bot_and_a_new_release_of_the_service(
    scene: Scene, cluster: SharedCluster, settings: Settings
) -> None:
    first, message = await scene.picture()
    await scene.bot.kill()
    await asyncio.to_thread(cluster.replace, settings)
    await scene.restart_bot()
    varied = await scene.reply_with_picture(await scene.alice.click(message, "Vary details"))
    check_only_details_are_new(first, varied, await scene.events(varied["id"]))
