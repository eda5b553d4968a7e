"""Follows jobs and keeps their messages up to date, to the outcome and once only.

What is to be delivered is in the service: a job stays in the bot's inbox there until its outcome is
shown. A bot that is killed takes all of it up again. Showing an outcome is an edit, which may
happen twice without anybody noticing; only a direct message could come twice, so before one is
sent, the job is claimed, and what was claimed before is looked for.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from dataclasses import replace
from itertools import count
from typing import Any

import discord

from bot.jobs.destination import Address, inbox_of
from bot.jobs.live_edits import Coalescer, LiveLoad
from bot.jobs.message_sender import Outcome, Postman
from bot.jobs.outcome import Results
from bot.service.client import CascadeClient
from bot.service.models import Job
from bot.telemetry.log import referenced
from bot.telemetry.metrics import Metrics
from bot.text.catalog import Texts, Voice
from bot.text.error_messages import means_gone
from bot.views import picture_messages as layouts
from bot.views.components import Layout, box, text
from bot.views.snapshot import Snapshot
from cascade_core.errors import CascadeError, Conflict, NotFound, NotReady, RateLimited

_PAUSES_S = (1.0, 2.0, 5.0, 15.0, 30.0, 60.0)
_MAX_SHRINK = 6
_PAGE = 100
_CLAIM = "claimed_at"

logger = logging.getLogger(__name__)


class Courier:
    """Brings what jobs make to where it was asked for.

    Args:
        client: of the service.
        postman: of Discord.
        results: makes the messages that show outcomes.
        texts: what they say.
        metrics: counts edits and deliveries.
    """

    def __init__(
        self,
        client: CascadeClient,
        postman: Postman,
        results: Results,
        texts: Texts,
        metrics: Metrics,
    ) -> None:
        self._client = client
        self._postman = postman
        self._results = results
        self._texts = texts
        self._metrics = metrics
        self._load = LiveLoad()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._live: dict[str, tuple[Job, Address]] = {}

    def take(self, job: Job, address: Address) -> None:
        """Follow a job from now on; returns at once, and does nothing if it is followed."""
        if job.id in self._tasks:
            return
        task = asyncio.create_task(self._carry_to_the_end(job, address), name=f"courier-{job.id}")
        self._tasks[job.id] = task
        self._live[job.id] = (job, address)
        task.add_done_callback(lambda _: self._forget(job.id))
        self._metrics.live_jobs.set(len(self._tasks))

    async def recover(self, application_id: int) -> int:
        """Take up every job whose outcome was not shown yet; returns how many there are.

        Raises:
            CascadeError: the service does not answer.
        """
        cursor, found = None, 0
        while True:
            page = await self._client.jobs(
                inbox=inbox_of(application_id), cursor=cursor, limit=_PAGE
            )
            for job in page.jobs:
                address = Address.from_state(job.client_state)
                if address is not None:
                    self.take(job, address)
                    found += 1
            if page.next_cursor is None:
                return found
            cursor = page.next_cursor

    async def settle(self, job_id: str) -> None:
        """Wait until a job that is followed is delivered."""
        task = self._tasks.get(job_id)
        if task is not None:
            await asyncio.wait([task])

    async def close(self, grace_s: float) -> None:
        """Stop following; live messages say that the bot will be back, as time allows."""
        live = list(self._live.values())
        for task in list(self._tasks.values()):
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        with suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                resting = (self._rest(job, address) for job, address in live)
                await asyncio.gather(*resting, return_exceptions=True)

    async def _rest(self, job: Job, address: Address) -> None:
        voice = Voice(self._texts, address.locale)
        layout = layouts.resting(voice, job.id, job.request.prompt, address.credit)
        await self._postman.edit(address, layout)

    def _forget(self, job_id: str) -> None:
        self._tasks.pop(job_id, None)
        self._live.pop(job_id, None)
        self._metrics.live_jobs.set(len(self._tasks))

    async def _carry_to_the_end(self, job: Job, address: Address) -> None:
        """Deliver a job, however often that takes; a stop leaves it for the next start."""
        with referenced(job.id):
            for failures in count():
                try:
                    await self._carry(job, address)
                except Exception:
                    logger.exception("job %s could not be delivered, it is tried again", job.id)
                    await asyncio.sleep(_pause_s(failures))
                else:
                    return

    async def _carry(self, job: Job, address: Address) -> None:
        if not job.is_terminal:
            await self._follow(job, address)
        try:
            await self._deliver(job.id, address)
        except NotFound:
            await self._give_up(job, address)

    async def _give_up(self, job: Job, address: Address) -> None:
        """Say that the service no longer has a job; there is nothing to deliver then."""
        voice = Voice(self._texts, address.locale)
        await self._postman.edit(address, layouts.ended(voice, job, voice("ended.lost")))
        self._metrics.delivered("lost")
        logger.warning("the service no longer has job %s", job.id)

    async def _follow(self, job: Job, address: Address) -> None:
        """Keep the message up to date until the job has ended, or its progress cannot be had."""
        self._load.enter(address.channel_id)
        coalescer = self._coalescer(job, address)
        try:
            snapshot = Snapshot.of(job, time.time())
            coalescer.show(snapshot)
            try:
                async for event in self._client.follow(job.id):
                    snapshot = snapshot.after(event, time.time())
                    coalescer.show(snapshot)
            except CascadeError as error:
                logger.warning("the progress of job %s is not shown: %s", job.id, error)
            await coalescer.finish()
        finally:
            self._load.leave(address.channel_id)

    def _coalescer(self, job: Job, address: Address) -> Coalescer:
        voice = Voice(self._texts, address.locale)
        shown_preview: tuple[str, tuple[str, bytes]] | None = None

        async def edit(snapshot: Snapshot) -> bool:
            nonlocal shown_preview
            path = snapshot.preview if address.preview and not snapshot.is_lost else ""
            if path and (shown_preview is None or shown_preview[0] != path):
                with suppress(CascadeError):
                    name = f"preview-{path.rpartition('/')[2].rpartition('.')[0]}.webp"
                    shown_preview = (path, (name, await self._client.preview(path)))
            layout = layouts.live(
                voice,
                job.id,
                job.request.prompt,
                snapshot,
                shown_preview[1] if shown_preview else None,
                address.spoiler,
                address.credit,
            )
            outcome = await self._postman.edit(address, layout)
            self._metrics.edit("sent" if outcome is Outcome.DONE else "failed")
            return outcome in (Outcome.DONE, Outcome.LATER)

        return Coalescer(
            edit,
            lambda: self._load.interval_s(address.channel_id),
            lambda: self._metrics.edit("coalesced"),
        )

    async def _deliver(self, job_id: str, address: Address) -> None:
        """Show a job's outcome.

        Raises:
            NotFound: the service no longer has the job.
        """
        shrink = failures = 0
        while True:
            job = await self._outcome(job_id)
            if Address.from_state(job.client_state) is None:
                return  # somebody has delivered it
            outcome = await self._show(job, address, shrink)
            if outcome is Outcome.TOO_LARGE and shrink < _MAX_SHRINK:
                shrink += 1
                continue
            if outcome is not Outcome.LATER:
                break
            await asyncio.sleep(_pause_s(failures))
            failures += 1
        if outcome is Outcome.DONE:
            self._metrics.job_seconds.observe(time.time() - job.created_at.timestamp())
            await self._close_out(job, address, "edited")
        elif outcome is Outcome.GONE:
            await self._close_out(job, address, "deleted")
        else:
            await self._deliver_directly(job, address)

    async def _show(self, job: Job, address: Address, shrink: int) -> Outcome:
        try:
            layout = await self._results.layout(job, address, shrink)
        except CascadeError as error:
            logger.info("the pictures of job %s cannot be had yet: %s", job.id, error)
            return Outcome.LATER
        if job.error is not None and means_gone(job.error) and not address.private:
            # What was lost was made by one person; others need not read of it.
            told = await self._postman.tell_apart(address, layout)
            if told is Outcome.DONE:
                return told
        return await self._postman.edit(address, layout)

    async def _deliver_directly(self, job: Job, address: Address) -> None:
        """Bring an outcome that cannot be shown where it was asked for to who asked."""
        was_claimed = _CLAIM in job.client_state
        claimed = await self._claim(job)
        if claimed is None:
            return
        if was_claimed and await self._arrived(address.user_id, job.id):
            await self._close_out(claimed, address, "direct")
            return
        failures = 0
        while True:
            layout = await self._direct_layout(claimed, address)
            # Discord takes nonces of up to 25 characters; a ULID's first one never changes.
            outcome = await self._postman.send_direct(address.user_id, layout, job.id[1:])
            if outcome is not Outcome.LATER:
                break
            await asyncio.sleep(_pause_s(failures))
            failures += 1
        await self._close_out(claimed, address, "direct" if outcome is Outcome.DONE else "lost")

    async def _direct_layout(self, job: Job, address: Address) -> Layout:
        voice = Voice(self._texts, address.locale)
        layout = await self._results.layout(job, address, 0)
        note = box([text(voice("result.missed"))])
        return Layout(note, *layout.children, files=layout.files)

    async def _claim(self, job: Job) -> Job | None:
        """Make the direct message of a job ours to send; None if another bot was first."""
        state: dict[str, Any] = job.client_state | {_CLAIM: time.time()}
        try:
            await self._client.set_client_state(job.id, state, job.client_state)
        except Conflict:
            return None
        return replace(job, client_state=state)

    async def _arrived(self, user_id: int, job_id: str) -> bool:
        try:
            return await self._postman.has_direct(user_id, job_id)
        except discord.HTTPException:
            return False

    async def _close_out(self, job: Job, address: Address, way: str) -> None:
        """Take a job out of the inbox; the service may take its time to answer."""
        failures = 0
        while True:
            try:
                await self._client.set_client_state(
                    job.id, address.delivered_state(), job.client_state
                )
            except (Conflict, NotFound):
                return
            except (NotReady, RateLimited):
                await asyncio.sleep(_pause_s(failures))
                failures += 1
                continue
            self._metrics.delivered(way)
            logger.info("delivered job %s: %s", job.id, way)
            return

    async def _outcome(self, job_id: str) -> Job:
        """Return a job once it has ended.

        Raises:
            NotFound: the service no longer has it.
        """
        for failures in count():
            with suppress(NotReady, RateLimited):
                job = await self._client.job(job_id)
                if job.is_terminal:
                    return job
            await asyncio.sleep(_pause_s(failures))
        raise AssertionError("an endless loop has ended")


def _pause_s(failures: int) -> float:
    return _PAUSES_S[min(failures, len(_PAUSES_S) - 1)]
