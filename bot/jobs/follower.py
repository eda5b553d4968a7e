"""Follows jobs: keeps their messages up to date and delivers each outcome once.

This is the outbox pattern. The service stores each job's delivery target in its client state and
lists the job in the bot's inbox until its outcome is delivered, so a bot that was killed recovers
every delivery at its next start. A delivery is an edit of a message, and a repeated edit does no
harm. A direct message could arrive twice. Before the bot sends one, it therefore locks the job's
delivery by compare-and-set; if an earlier run holds the lock, it first looks for its message.
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

from bot.jobs.delivery_target import DeliveryTarget, inbox_of
from bot.jobs.edit_throttle import EditThrottle, LiveMessageCounts
from bot.jobs.message_sender import MessageSender, SendResult
from bot.jobs.outcome import OutcomeMessages
from bot.service.client import CascadeClient
from bot.service.models import Job, JobEvent, find_model
from bot.telemetry.log import referenced
from bot.telemetry.metrics import Metrics
from bot.text.catalog import Catalog, Translator
from bot.text.error_messages import is_source_gone
from bot.views import picture_messages
from bot.views.components import Layout, box, text
from bot.views.snapshot import Snapshot
from cascade_core.errors import CascadeError, Conflict, NotFound, NotReady, RateLimited
from cascade_core.families.stage_info import StageInfo

_PAUSES_S = (1.0, 2.0, 5.0, 15.0, 30.0, 60.0)
_MAX_SHRINK = 6
_PAGE = 100
_LOCKED_AT = "claimed_at"
"""Key in a job's client state: Unix time at which a bot locked its delivery."""

logger = logging.getLogger(__name__)


class JobFollower:
    """Follows jobs to their end and delivers their outcomes.

    Args:
        client: the service's client.
        sender: edits and sends messages in Discord.
        outcomes: makes the messages that show outcomes.
        catalog: the bot's sentences.
        metrics: counts edits and deliveries.
    """

    def __init__(
        self,
        client: CascadeClient,
        sender: MessageSender,
        outcomes: OutcomeMessages,
        catalog: Catalog,
        metrics: Metrics,
    ) -> None:
        self._client = client
        self._sender = sender
        self._outcomes = outcomes
        self._catalog = catalog
        self._metrics = metrics
        self._live_messages = LiveMessageCounts()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._live: dict[str, tuple[Job, DeliveryTarget]] = {}
        self._learning: asyncio.Task[None] | None = None

    def follow(self, job: Job, target: DeliveryTarget) -> None:
        """Start to follow a job in the background; does nothing if it is followed already."""
        if job.id in self._tasks:
            return
        task = asyncio.create_task(
            self._follow_until_delivered(job, target), name=f"follower-{job.id}"
        )
        self._tasks[job.id] = task
        self._live[job.id] = (job, target)
        task.add_done_callback(lambda _: self._forget(job.id))
        self._metrics.live_jobs.set(len(self._tasks))

    async def recover(self, application_id: int) -> int:
        """Follow every undelivered job of the inbox; return their number.

        Raises:
            CascadeError: the service does not answer.
        """
        cursor, found = None, 0
        while True:
            page = await self._client.jobs(
                inbox=inbox_of(application_id), cursor=cursor, limit=_PAGE
            )
            for job in page.jobs:
                target = DeliveryTarget.from_state(job.client_state)
                if target is not None:
                    self.follow(job, target)
                    found += 1
            if page.next_cursor is None:
                return found
            cursor = page.next_cursor

    async def close(self, grace_s: float) -> None:
        """Stop following; live messages then say that the bot restarts.

        Args:
            grace_s: seconds that the edits of all live messages get.
        """
        live = list(self._live.values())
        if self._learning is not None:
            self._learning.cancel()
        for task in list(self._tasks.values()):
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        with suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                paused = (self._show_paused(job, target) for job, target in live)
                await asyncio.gather(*paused, return_exceptions=True)

    async def _show_paused(self, job: Job, target: DeliveryTarget) -> None:
        translate = Translator(self._catalog, target.locale)
        layout = picture_messages.paused(translate, job.id, job.request.prompt, target.credit)
        await self._sender.edit(target, layout)

    def _forget(self, job_id: str) -> None:
        self._tasks.pop(job_id, None)
        self._live.pop(job_id, None)
        self._metrics.live_jobs.set(len(self._tasks))

    async def _follow_until_delivered(self, job: Job, target: DeliveryTarget) -> None:
        """Follow a job until its outcome is delivered; after a stop, the next start continues."""
        with referenced(job.id):
            for failures in count():
                try:
                    await self._follow_once(job, target)
                except Exception:
                    logger.exception("the delivery of job %s failed and is retried", job.id)
                    await asyncio.sleep(_pause_s(failures))
                else:
                    return

    async def _follow_once(self, job: Job, target: DeliveryTarget) -> None:
        if not job.is_resting:
            await self._show_progress(job, target)
        if target.comparison is not None:
            for other in await self._others(target.comparison, job.id):
                await self._show_progress(other, target)
        try:
            await self._deliver(job.id, target)
        except NotFound:
            await self._report_missing(job, target)

    async def _others(self, comparison_id: str, job_id: str) -> tuple[Job, ...]:
        """Return the other jobs of a comparison that have not ended; none if it is not known."""
        try:
            jobs = (await self._client.comparison(comparison_id)).jobs
        except CascadeError as error:
            logger.warning("the jobs of a comparison are not followed: %s", error)
            return ()
        return tuple(job for job in jobs if job.id != job_id and not job.is_resting)

    async def _report_missing(self, job: Job, target: DeliveryTarget) -> None:
        """Show that the service no longer has a job, so there is nothing to deliver."""
        translate = Translator(self._catalog, target.locale)
        await self._sender.edit(
            target, picture_messages.ended(translate, job, translate("ended.lost"))
        )
        self._metrics.delivered("lost")
        logger.warning("the service no longer has job %s", job.id)

    async def _show_progress(self, job: Job, target: DeliveryTarget) -> None:
        """Keep the message up to date until the job ends or the service refuses its events."""
        self._live_messages.enter(target.channel_id)
        throttle = self._edit_throttle(job, target)
        has_asked = False
        try:
            snapshot = Snapshot.of(job, time.time())
            throttle.show(snapshot)
            try:
                async for event in self._client.events(job.id):
                    stages = self._stages(job)
                    if not has_asked and _is_new_stage(event, stages):
                        has_asked = True
                        self._start_to_learn()
                    snapshot = replace(snapshot, stages=stages)
                    snapshot = snapshot.after(event, time.time())
                    throttle.show(snapshot)
            except CascadeError as error:
                logger.warning("the progress of job %s is not shown: %s", job.id, error)
            await throttle.finish()
        finally:
            self._live_messages.leave(target.channel_id)

    def _start_to_learn(self) -> None:
        """Ask for the model in the background: the service was upgraded since the bot asked."""
        if self._learning is None or self._learning.done():
            self._learning = asyncio.create_task(self._learn_model())

    async def _learn_model(self) -> None:
        try:
            await self._client.models()
        except Exception as error:
            logger.warning("the service does not tell its model: %s", error)

    def _stages(self, job: Job) -> tuple[StageInfo, ...]:
        """Return the stages that a job's pictures pass; empty while the model is not known."""
        model = find_model(self._client.known_models, job.request.model)
        return model.route(job.kind, job.request.stop_after) if model else ()

    def _edit_throttle(self, job: Job, target: DeliveryTarget) -> EditThrottle:
        translate = Translator(self._catalog, target.locale)
        shown_preview: tuple[str, tuple[str, bytes]] | None = None

        async def edit(snapshot: Snapshot) -> bool:
            nonlocal shown_preview
            path = snapshot.preview if target.preview and not snapshot.is_lost else ""
            if path and (shown_preview is None or shown_preview[0] != path):
                with suppress(CascadeError):
                    name = f"preview-{path.rpartition('/')[2].rpartition('.')[0]}.webp"
                    shown_preview = (path, (name, await self._client.preview(path)))
            layout = picture_messages.live(
                translate,
                target.job_ids(job.id, 1)[0],  # of a comparison: the first one, for its buttons
                job.request.prompt,
                snapshot,
                shown_preview[1] if shown_preview else None,
                target.spoiler,
                target.credit,
            )
            result = await self._sender.edit(target, layout)
            self._metrics.edit("sent" if result is SendResult.DONE else "failed")
            return result in (SendResult.DONE, SendResult.RETRY)

        return EditThrottle(
            edit,
            lambda: self._live_messages.interval_s(target.channel_id),
            lambda: self._metrics.edit("coalesced"),
        )

    async def _deliver(self, job_id: str, target: DeliveryTarget) -> None:
        """Deliver the outcome of a job that has ended, or its drafts to choose from.

        Raises:
            NotFound: the service no longer has the job.
        """
        shrink = failures = 0
        while True:
            job = await self._wait_for_end(job_id)
            if DeliveryTarget.from_state(job.client_state) is None:
                return  # another bot has delivered it
            result = await self._show_outcome(job, target, shrink)
            if result is SendResult.TOO_LARGE and shrink < _MAX_SHRINK:
                shrink += 1
                continue
            if result is not SendResult.RETRY:
                break
            await asyncio.sleep(_pause_s(failures))
            failures += 1
        if result is SendResult.DONE:
            self._metrics.job_seconds.observe(time.time() - job.created_at.timestamp())
            await self._mark_delivered(job, target, "edited")
        elif result is SendResult.GONE:
            await self._mark_delivered(job, target, "deleted")
        else:
            await self._deliver_directly(job, target)

    async def _show_outcome(self, job: Job, target: DeliveryTarget, shrink: int) -> SendResult:
        try:
            layout = await self._outcomes.outcome(job, target, shrink)
        except CascadeError as error:
            logger.info("the pictures of job %s are not available yet: %s", job.id, error)
            return SendResult.RETRY
        if job.error is not None and is_source_gone(job.error) and not target.private:
            # Only the requester needs to know that the source picture is gone.
            result = await self._sender.replace_privately(target, layout)
            if result is SendResult.DONE:
                return result
        return await self._sender.edit(target, layout)

    async def _deliver_directly(self, job: Job, target: DeliveryTarget) -> None:
        """Deliver an outcome by direct message, because its message cannot be edited."""
        was_locked = _LOCKED_AT in job.client_state
        locked = await self._lock_delivery(job)
        if locked is None:
            return
        if was_locked and await self._was_sent(target.user_id, job.id):
            await self._mark_delivered(locked, target, "direct")
            return
        failures = 0
        while True:
            layout = await self._direct_layout(locked, target)
            # Discord allows nonces of up to 25 characters. A ULID has 26, of which the first is
            # always the same.
            result = await self._sender.send_direct(target.user_id, layout, job.id[1:])
            if result is not SendResult.RETRY:
                break
            await asyncio.sleep(_pause_s(failures))
            failures += 1
        await self._mark_delivered(
            locked, target, "direct" if result is SendResult.DONE else "lost"
        )

    async def _direct_layout(self, job: Job, target: DeliveryTarget) -> Layout:
        translate = Translator(self._catalog, target.locale)
        layout = await self._outcomes.outcome(job, target, 0)
        note = box([text(translate("result.missed"))])
        return Layout(note, *layout.children, files=layout.files)

    async def _lock_delivery(self, job: Job) -> Job | None:
        """Lock a job's delivery by direct message; return None if another bot was first."""
        state: dict[str, Any] = job.client_state | {_LOCKED_AT: time.time()}
        try:
            await self._client.set_client_state(job.id, state, job.client_state)
        except Conflict:
            return None
        return replace(job, client_state=state)

    async def _was_sent(self, user_id: int, job_id: str) -> bool:
        try:
            return await self._sender.has_sent_direct(user_id, job_id)
        except discord.HTTPException:
            return False

    async def _mark_delivered(self, job: Job, target: DeliveryTarget, route: str) -> None:
        """Take a job out of the inbox, retrying until the service answers."""
        failures = 0
        while True:
            try:
                await self._client.set_client_state(
                    job.id, target.delivered_state(), job.client_state
                )
            except (Conflict, NotFound):
                return
            except (NotReady, RateLimited):
                await asyncio.sleep(_pause_s(failures))
                failures += 1
                continue
            self._metrics.delivered(route)
            logger.info("delivered job %s: %s", job.id, route)
            return

    async def _wait_for_end(self, job_id: str) -> Job:
        """Wait until a job has ended, or waits for a person to choose, and return it.

        Raises:
            NotFound: the service no longer has it.
        """
        for failures in count():
            with suppress(NotReady, RateLimited):
                job = await self._client.job(job_id)
                if job.is_resting:
                    return job
            await asyncio.sleep(_pause_s(failures))
        raise AssertionError("an endless loop has ended")


def _pause_s(failures: int) -> float:
    return _PAUSES_S[min(failures, len(_PAUSES_S) - 1)]


def _is_new_stage(event: JobEvent, stages: tuple[StageInfo, ...]) -> bool:
    """Return True if an event tells of a stage that the bot does not know yet."""
    return event.type == "progress" and event.data["stage"] not in {s.name for s in stages}
