"""Deliveries of outcomes, with a scripted sender and the real gateway."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from ulid import ULID

from bot.jobs import follower as follower_module
from bot.jobs.delivery_target import DeliveryTarget
from bot.jobs.follower import JobFollower
from bot.jobs.message_sender import SendResult
from bot.jobs.outcome import OutcomeMessages
from bot.service.client import CascadeClient
from bot.service.models import Job, ModelInfo
from bot.telemetry.metrics import Metrics
from bot.text.catalog import Catalog
from bot.views.components import Layout
from cascade_core.errors import Forbidden, NotReady
from tests.bot.gateway import Service, running_service
from tests.limits import HANG_S
from tests.serve.recorded_jobs import record_step

TARGET = DeliveryTarget(
    application_id=1,
    token="t",
    token_until=2**40,
    channel_id=2,
    message_id=3,
    user_id=4,
    guild_id=5,
    reachable=True,
    private=False,
    spoiler=False,
    preview=True,
    locale="en-US",
    file_limit_bytes=10**7,
)
DONE, GONE, RETRY = SendResult.DONE, SendResult.GONE, SendResult.RETRY


async def until_followed_no_more(job_id: str) -> None:
    """Return when the task that follows a job has ended."""
    tasks = [task for task in asyncio.all_tasks() if task.get_name() == f"follower-{job_id}"]
    if tasks:
        await asyncio.wait(tasks)


class ScriptedSender:
    """Returns the given results in order, and repeats the last one."""

    def __init__(self, *edits: SendResult, direct: tuple[SendResult, ...] = (DONE,)) -> None:
        self._edits, self._direct = list(edits or (DONE,)), list(direct)
        self.edits: list[Layout] = []
        self.directs: list[tuple[int, Layout, str]] = []
        self.arrived: set[str] = set()

    async def edit(self, _target: DeliveryTarget, layout: Layout) -> SendResult:
        self.edits.append(layout)
        return self._edits.pop(0) if len(self._edits) > 1 else self._edits[0]

    async def replace_privately(self, _target: DeliveryTarget, _layout: Layout) -> SendResult:
        return SendResult.UNREACHABLE

    async def send_direct(self, user_id: int, layout: Layout, nonce: str) -> SendResult:
        self.directs.append((user_id, layout, nonce))
        return self._direct.pop(0) if len(self._direct) > 1 else self._direct[0]

    async def has_sent_direct(self, _user_id: int, job_id: str) -> bool:
        return job_id in self.arrived


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follower_module, "_PAUSES_S", (0.0,))


@pytest_asyncio.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    async with running_service(tmp_path) as service:
        yield service


@pytest_asyncio.fixture
async def client(service: Service) -> AsyncIterator[CascadeClient]:
    client = CascadeClient(service.url, budget_s=5.0)
    yield client
    await client.close()


class DeliveryHarness:
    """A follower, its scripted sender, and a finished job to deliver."""

    def __init__(self, client: CascadeClient, service: Service) -> None:
        self.client, self.service = client, service
        self.metrics, self._catalog = Metrics(), Catalog.load()

    async def job(self, target: DeliveryTarget = TARGET, finished: bool = True) -> Job:
        request: dict[str, Any] = {"kind": "generate", "prompt": "a fox"}
        given: dict[str, Any] = {"user": "discord:4", "client_state": target.to_state()}
        job = await self.client.create_job(request, job_id=str(ULID()), **given)
        if finished:
            await self.service.succeed(job.id)
        return job

    def follower(self, sender: ScriptedSender) -> JobFollower:
        outcomes = OutcomeMessages(self.client, self._catalog)
        return JobFollower(self.client, sender, outcomes, self._catalog, self.metrics)  # type: ignore[arg-type]

    async def deliver(
        self, job: Job, sender: ScriptedSender, target: DeliveryTarget = TARGET
    ) -> None:
        follower = self.follower(sender)
        follower.follow(job, target)
        async with asyncio.timeout(HANG_S):
            await until_followed_no_more(job.id)

    async def in_inbox(self) -> int:
        return len((await self.client.jobs(inbox="discord.1")).jobs)

    def deliveries(self, way: str) -> float:
        value = self.metrics.registry.get_sample_value("cascade_bot_deliveries_total", {"way": way})
        return value or 0.0


@pytest.fixture
def harness(client: CascadeClient, service: Service) -> DeliveryHarness:
    return DeliveryHarness(client, service)


async def test_a_storm_longer_than_any_retry_only_delays_the_result(
    harness: DeliveryHarness,
) -> None:
    sender = ScriptedSender(*[RETRY] * 12, DONE)
    await harness.deliver(await harness.job(), sender)
    assert sender.edits[-1].files[0][1].startswith(b"\x89PNG")
    assert (await harness.in_inbox(), harness.deliveries("edited")) == (0, 1)


async def test_files_shrink_until_discord_takes_them(harness: DeliveryHarness) -> None:
    sender = ScriptedSender(DONE, SendResult.TOO_LARGE, SendResult.TOO_LARGE, DONE)
    await harness.deliver(await harness.job(), sender)
    sizes = [len(layout.files[0][1]) for layout in sender.edits if layout.files]
    assert sizes[-1] < sizes[-3]
    assert await harness.in_inbox() == 0


async def test_a_message_that_was_deleted_ends_the_matter(harness: DeliveryHarness) -> None:
    sender = ScriptedSender(GONE)
    await harness.deliver(await harness.job(), sender)
    assert (sender.directs, await harness.in_inbox()) == ([], 0)
    assert harness.deliveries("deleted") == 1


@pytest.mark.parametrize("outcome", [SendResult.UNREACHABLE, SendResult.REFUSED])
async def test_what_cannot_be_shown_there_comes_as_a_direct_message(
    harness: DeliveryHarness, outcome: SendResult
) -> None:
    job = await harness.job()
    sender = ScriptedSender(outcome, direct=(RETRY, DONE))
    await harness.deliver(job, sender)
    assert [(user, nonce) for user, _, nonce in sender.directs] == [(4, job.id[1:])] * 2
    assert len(sender.directs[0][2]) <= 25
    assert (await harness.in_inbox(), harness.deliveries("direct")) == (0, 1)


async def test_a_person_without_direct_messages_keeps_the_picture_in_the_gallery(
    harness: DeliveryHarness,
) -> None:
    job = await harness.job()
    await harness.deliver(
        job, ScriptedSender(SendResult.UNREACHABLE, direct=(SendResult.UNREACHABLE,))
    )
    assert (await harness.in_inbox(), harness.deliveries("lost")) == (0, 1)
    assert (await harness.client.job(job.id)).images


async def test_two_bots_send_one_direct_message(harness: DeliveryHarness) -> None:
    job = await harness.job()
    senders = [ScriptedSender(SendResult.UNREACHABLE) for _ in range(2)]
    await asyncio.gather(*(harness.deliver(job, sender) for sender in senders))
    assert sum(len(sender.directs) for sender in senders) == 1
    assert await harness.in_inbox() == 0


@pytest.mark.parametrize("arrived", [True, False])
async def test_after_a_crash_a_direct_message_is_sent_only_if_it_did_not_arrive(
    harness: DeliveryHarness, arrived: bool
) -> None:
    job = await harness.job()
    state = TARGET.to_state()
    await harness.client.set_client_state(job.id, state | {"claimed_at": time.time()}, state)
    sender = ScriptedSender(SendResult.UNREACHABLE)
    if arrived:
        sender.arrived.add(job.id)
    await harness.deliver(job, sender)
    assert len(sender.directs) == (0 if arrived else 1)
    assert await harness.in_inbox() == 0


async def test_a_restart_takes_up_every_job_in_the_inbox_once(harness: DeliveryHarness) -> None:
    jobs = [await harness.job() for _ in range(3)]
    await harness.job(replace(TARGET, application_id=99))
    sender = ScriptedSender()
    follower = harness.follower(sender)
    assert await follower.recover(1) == 3
    assert await follower.recover(1) == 3
    for job in jobs:
        await until_followed_no_more(job.id)
    with_files = [layout for layout in sender.edits if layout.files]
    assert len([layout for layout in with_files if layout.files[0][0].endswith(".png")]) == 3
    assert await harness.in_inbox() == 0


async def test_what_was_delivered_is_not_delivered_again(harness: DeliveryHarness) -> None:
    job = await harness.job()
    await harness.deliver(job, ScriptedSender())
    again = ScriptedSender()
    await harness.deliver(await harness.client.job(job.id), again)
    assert not any(layout.files for layout in again.edits)


async def test_a_stop_leaves_the_job_for_the_next_start(harness: DeliveryHarness) -> None:
    job = await harness.job(finished=False)
    sender = ScriptedSender()
    follower = harness.follower(sender)
    follower.follow(job, TARGET)
    await follower.close(5.0)
    assert "is restarting" in str(sender.edits[-1].to_components())
    assert await harness.in_inbox() == 1


async def test_a_picture_deleted_before_its_delivery_is_told(harness: DeliveryHarness) -> None:
    job = await harness.job()
    image = (await harness.client.job(job.id)).images[0]
    await harness.client.delete_image(image.id)
    sender = ScriptedSender()
    await harness.deliver(job, sender)
    assert "deleted" in str(sender.edits[-1].to_components())


async def test_an_outage_while_the_pictures_are_fetched_only_delays_the_result(
    harness: DeliveryHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, outages = harness.client.image, iter([NotReady("no answer in time")] * 3)

    async def image(image_id: str, user: str | None = None) -> bytes:
        if (outage := next(outages, None)) is not None:
            raise outage
        return await real(image_id, user)

    monkeypatch.setattr(harness.client, "image", image)
    sender = ScriptedSender()
    await harness.deliver(await harness.job(), sender)
    assert sender.edits[-1].files[0][1].startswith(b"\x89PNG")
    assert (await harness.in_inbox(), harness.deliveries("edited")) == (0, 1)


@pytest.mark.parametrize("where", ["_deliver", "_show_progress"])
async def test_a_fault_of_our_own_on_the_way_only_delays_the_result(
    harness: DeliveryHarness, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    real, faults = getattr(JobFollower, where), iter([ZeroDivisionError(), KeyError("step")])

    async def stumble(*args: Any) -> None:
        if (fault := next(faults, None)) is not None:
            raise fault
        await real(*args)

    monkeypatch.setattr(JobFollower, where, stumble)
    sender, job = ScriptedSender(), await harness.job(finished=where == "_deliver")
    follower = harness.follower(sender)
    follower.follow(job, TARGET)
    if where == "_show_progress":
        await harness.service.succeed(job.id)
    async with asyncio.timeout(HANG_S):
        await until_followed_no_more(job.id)
    assert sender.edits[-1].files
    assert await harness.in_inbox() == 0


async def test_progress_that_the_service_refuses_to_tell_does_not_keep_the_result_away(
    harness: DeliveryHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asyncio.Event()

    async def refuse(_job_id: str) -> AsyncIterator[Any]:
        asked.set()
        raise Forbidden("this key may not")
        yield

    monkeypatch.setattr(harness.client, "events", refuse)
    sender, job = ScriptedSender(), await harness.job(finished=False)
    follower = harness.follower(sender)
    follower.follow(job, TARGET)
    async with asyncio.timeout(HANG_S):
        await asked.wait()
        await harness.service.succeed(job.id)
        await until_followed_no_more(job.id)
    assert sender.edits[-1].files


async def test_a_job_that_the_service_no_longer_has_is_told_and_ends_the_matter(
    harness: DeliveryHarness,
) -> None:
    job = replace(await harness.job(), id=str(ULID()))
    sender = ScriptedSender()
    await harness.deliver(job, sender)
    assert "no longer has this picture" in str(sender.edits[-1].to_components())
    assert harness.deliveries("lost") == 1


async def test_a_job_with_a_strange_address_keeps_no_other_from_its_delivery(
    harness: DeliveryHarness,
) -> None:
    job, strange = [await harness.job() for _ in range(2)]
    state = TARGET.to_state()
    state["address"]["of"] = [7]
    await harness.client.set_client_state(strange.id, state, TARGET.to_state())
    follower = harness.follower(ScriptedSender())
    assert await follower.recover(1) == 2
    for one in (job, strange):
        await until_followed_no_more(one.id)
    assert await harness.in_inbox() == 0


class PercentSender(ScriptedSender):
    """Sets an event once a message tells how much of the work is done."""

    def __init__(self) -> None:
        super().__init__()
        self.has_shown_percent = asyncio.Event()

    async def edit(self, target: DeliveryTarget, layout: Layout) -> SendResult:
        if "%" in str(layout.to_components()):
            self.has_shown_percent.set()
        return await super().edit(target, layout)


async def test_stages_of_a_service_that_was_upgraded_are_learnt_from_its_progress(
    harness: DeliveryHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, is_learnt = harness.client.models, asyncio.Event()
    harness.client.known_models = (replace((await real())[0], stages=()),)

    async def learn() -> tuple[ModelInfo, ...]:
        models = await real()
        is_learnt.set()
        return models

    monkeypatch.setattr(harness.client, "models", learn)
    sender, job = PercentSender(), await harness.job(finished=False)
    follower, database = harness.follower(sender), harness.service.database
    follower.follow(job, TARGET)
    async with asyncio.timeout(HANG_S):
        record_step(database, job.id, "c", 1, 12, 0)
        await is_learnt.wait()
        record_step(database, job.id, "c", 2, 12, 0)
        await sender.has_shown_percent.wait()
        await harness.service.succeed(job.id)
        await until_followed_no_more(job.id)
    assert "".join(stage.name for stage in harness.client.known_models[0].stages) == "cba"
    assert sender.edits[-1].files
