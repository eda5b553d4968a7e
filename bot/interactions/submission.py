"""Submits what an interaction asks for as a job, and hands the job to the follower."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

from ulid import ULID

from bot.interactions.attachments import upload
from bot.interactions.location import channel_ids, is_age_restricted
from bot.interactions.responder import Interaction, Responder
from bot.jobs.delivery_target import TOKEN_S, DeliveryTarget
from bot.jobs.follower import JobFollower
from bot.policy.guild_rules import GuildRules, GuildRulesStore
from bot.policy.job_request import JobRequest
from bot.policy.message_credit import Credit
from bot.policy.user_defaults import UserDefaults, UserDefaultsStore
from bot.service.client import CascadeClient
from bot.service.models import Job, ModelInfo, find_model
from bot.telemetry.metrics import Metrics
from bot.text.catalog import Catalog
from bot.text.error_messages import UserError
from bot.text.markdown import escape, shorten
from bot.views import picture_messages
from bot.views.snapshot import Snapshot
from cascade_core import comparison_jobs
from cascade_core.errors import (
    CascadeError,
    InvalidRequest,
    NotReady,
    RateLimited,
    Unsupported,
)
from cascade_core.job_states import OPEN_STATES
from cascade_core.operations.registry import IMAGE_TO_IMAGE

_GIVEN_CHARS = 60
_SAFE_S = TOKEN_S - 120
_CANCEL_PAUSES_S = (1.0, 5.0, 15.0, 60.0, 300.0)
MakeRequest = Callable[[UserDefaults], Awaitable[JobRequest]]

logger = logging.getLogger(__name__)


class Submission:
    """Checks requests against rules and limits, and submits them to the service.

    Args:
        client: the service's client.
        follower: keeps a job's message up to date and delivers its outcome.
        guild_rules: the rules of servers.
        user_defaults: the defaults of people.
        catalog: the bot's sentences.
        metrics: the bot's metrics.
        max_open: open jobs allowed per person; 0: no limit.
    """

    def __init__(
        self,
        client: CascadeClient,
        follower: JobFollower,
        guild_rules: GuildRulesStore,
        user_defaults: UserDefaultsStore,
        catalog: Catalog,
        metrics: Metrics,
        max_open: int,
    ) -> None:
        self._client = client
        self._follower = follower
        self.guild_rules = guild_rules
        self.user_defaults = user_defaults
        self._catalog = catalog
        self._metrics = metrics
        self._max_open = max_open
        self._cancelling: set[asyncio.Task[None]] = set()
        self._submitting: dict[asyncio.Task[Any], str] = {}  # task -> user, in order of arrival
        self._is_closed = False

    async def close(self, grace_s: float) -> None:
        """Accept no more requests; those in progress may finish, or fail with NotReady.

        Args:
            grace_s: seconds that the requests in progress get.
        """
        self._is_closed = True
        if not self._submitting:
            return
        _, unfinished = await asyncio.wait(self._submitting, timeout=grace_s / 2)
        for task in unfinished:
            task.cancel()
        if unfinished:
            await asyncio.wait(unfinished, timeout=grace_s / 2)

    def responder_for(self, interaction: Interaction) -> Responder:
        """Return a new responder for an interaction."""
        return Responder(interaction, self._catalog, self._metrics)

    def known_models(self) -> tuple[ModelInfo, ...]:
        """Return the service's models if they are known already; sends no request."""
        return self._client.known_models

    def known_model(self, name: str | None = None) -> ModelInfo | None:
        """Return a model as :meth:`model` if it is known already; sends no request."""
        return find_model(self._client.known_models, name)

    async def models(self) -> tuple[ModelInfo, ...]:
        """Return the service's models; the first call asks the service, later ones the memory."""
        return self._client.known_models or await self._client.models()

    async def model(self, name: str | None = None) -> ModelInfo:
        """Return the model with an id; the default if no id is given or it is gone."""
        found = find_model(await self.models(), name)
        assert found is not None  # a service has one at least
        return found

    async def check_model(self, option: str, given: str | None) -> None:
        """Check that a person's choice of a model is one of the service's; None is no choice.

        Args:
            option: the name of the option in the person's language.
            given: what was chosen or typed.

        Raises:
            UserError: it is none.
        """
        if given is None or any(model.id == given for model in await self.models()):
            return
        ids = [model.id for model in await self._client.models()]  # it may be a new one
        if given not in ids:
            shown, choices = escape(shorten(given, _GIVEN_CHARS)), escape(", ".join(ids))
            raise UserError.because("option_choice", option=option, given=shown, choices=choices)

    async def check_offers(self, kind: str, otherwise: str, model: str | None = None) -> None:
        """Check that a model can do a kind of job.

        Args:
            kind: of the job.
            otherwise: the key of the sentence if it cannot.
            model: its id; None: the default.

        Raises:
            UserError: it cannot.
        """
        if not (await self.model(model)).offers(kind):
            raise UserError.because(otherwise)

    async def check_starts(self, *, is_upload: bool, model: str | None = None) -> None:
        """Check that a model can start from a picture.

        Args:
            is_upload: the picture is an attachment, not one of the service.
            model: its id; None: the default.

        Raises:
            UserError: it cannot.
        """
        await self.check_offers(IMAGE_TO_IMAGE.name, "no_starts", model)
        if is_upload and not (await self.model(model)).takes_uploads:
            raise UserError.because("no_uploads")

    async def submit(self, responder: Responder, make: MakeRequest) -> None:
        """Make a request, acknowledge the interaction, submit a job and have it followed.

        Args:
            responder: of an interaction that is not acknowledged yet.
            make: makes the request from the person's defaults.

        Raises:
            UserError: a rule or limit forbids the request.
            NotReady: the bot is stopping, or the service does not answer.
        """
        task = asyncio.current_task()
        if self._is_closed or task is None:
            raise NotReady("the bot is stopping")
        self._submitting[task] = responder.user
        before = list(self._submitting.values()).count(responder.user) - 1
        try:
            await self._submit(responder, make, before)
        except asyncio.CancelledError:
            raise NotReady("the bot is stopping") from None
        finally:
            del self._submitting[task]

    async def _submit(self, responder: Responder, make: MakeRequest, before: int) -> None:
        """Submit a request; ``before``: earlier requests of this person still in progress."""
        making = self._make_checked(responder, make, before)
        request = await responder.defer_when_ready(making, lambda made: made.private)
        own_id = ULID()
        job_id = comparison_jobs.job_id(str(own_id), 0) if request.models else str(own_id)
        if responder.is_undecided and not request.private:
            translate = responder.public_translator()
            credit = _credit(responder, request)
            await responder.switch_to_public(
                picture_messages.live(translate, job_id, request.prompt, Snapshot(), credit=credit)
            )
        if request.attachment_url:
            attached = request.attachment_url
            image = await upload(responder.interaction, self._client, attached, responder.user)
            request = replace(request, image=image)
        target = _delivery_target(responder, request)
        if request.models:
            target = replace(target, comparison=str(own_id))
        job = await self._create_job(request, job_id, responder.user, target)
        if not _can_be_delivered(job, target):
            self._cancel_later(target.job_ids(job.id, len(request.models)))
            raise UserError.because("too_long_here")
        logger.info("submitted job %s", job.id)
        self._follower.follow(job, target)

    async def _make_checked(
        self, responder: Responder, make: MakeRequest, before: int
    ) -> JobRequest:
        request = await make(await self.user_defaults.get(responder.user))
        if request.model is not None:
            # The model of an earlier picture may be gone; then the default makes a new one.
            model = await self.model(request.model)
            request = replace(request, model=model.id if model.id == request.model else None)
        rules = await self.check_rules(responder, request)
        if rules.max_steps and request.models:
            own = [(await self.model(name)).steps for name in request.models]
            limited = tuple(min(steps, rules.max_steps) for steps in own)
            request = replace(request, steps_of_models=limited)
        elif rules.max_steps and request.steps is None and request.latent_id is None:
            default = (await self.model(request.model)).steps
            request = replace(request, steps=min(default, rules.max_steps))
        more = max(0, len(request.models) - 1)
        await self._check_open_jobs(responder.user, rules.max_open, before + more)
        return request

    async def check_rules(self, responder: Responder, request: JobRequest) -> GuildRules:
        """Check a request by the rules of the server and channel where it is shown.

        Raises:
            UserError: it may not be shown there.
        """
        interaction = responder.interaction
        rules = await self.guild_rules.get(interaction.guild_id)
        rules.check(request, channel_ids(interaction), is_age_restricted(interaction))
        return rules

    async def _check_open_jobs(self, user: str, max_open_here: int, before: int) -> None:
        most = min(filter(None, (max_open_here, self._max_open)), default=0)
        if not most:
            return
        pages = await asyncio.gather(
            *(self._client.jobs(user=user, state=state, limit=most) for state in OPEN_STATES)
        )
        if sum(len(page.jobs) for page in pages) + before >= most:
            raise UserError.because("too_many_open", count=most)

    async def _create_job(
        self, request: JobRequest, job_id: str, user: str, target: DeliveryTarget
    ) -> Job:
        try:
            if target.comparison is not None:
                compared = await self._client.compare(
                    request.to_comparison(),
                    comparison_id=target.comparison,
                    user=user,
                    state=target.to_state(),
                )
                return compared.jobs[0]
            return await self._client.create_job(
                request.to_body(), job_id=job_id, user=user, client_state=target.to_state()
            )
        except Unsupported as error:
            if error.field != "stop_after":
                raise
            raise UserError.because("no_drafts") from error  # nothing could be shown of them
        except InvalidRequest as error:
            if error.field not in ("width", "height"):
                raise
            await self._client.models()  # the service may have other models now
            model = await self.model(request.model)
            sides = {"lowest": model.min_side, "highest": model.max_side}
            raise UserError.because("size", **sides, step=model.multiple_of) from error
        except NotReady:
            # The service may have accepted the job, but its message was never shown.
            self._cancel_later(target.job_ids(job_id, len(request.models)))
            raise

    def _cancel_later(self, job_ids: Sequence[str]) -> None:
        """Cancel jobs in the background, as soon as the service answers."""
        for job_id in job_ids:
            task = asyncio.create_task(self._cancel(job_id))
            self._cancelling.add(task)
            task.add_done_callback(self._cancelling.discard)

    async def _cancel(self, job_id: str) -> None:
        for pause_s in _CANCEL_PAUSES_S:
            try:
                await self._client.cancel(job_id)
            except (NotReady, RateLimited):
                await asyncio.sleep(pause_s)
            except CascadeError:
                return
            else:
                return
        logger.warning("job %s was not cancelled: the service does not answer", job_id)


def _delivery_target(responder: Responder, request: JobRequest) -> DeliveryTarget:
    interaction = responder.interaction
    # Direct messages with the bot have no server, but the bot can edit its messages there.
    is_member = interaction.is_guild_integration() and interaction.guild_id is not None
    is_dm = interaction.guild_id is None and interaction.context.dm_channel is True
    translate = responder.translate if responder.is_private else responder.public_translator()
    return DeliveryTarget(
        application_id=interaction.application_id,
        token=interaction.token,
        # This machine's clock need not agree with Discord's, so it times the receipt.
        token_until=responder.began_at + TOKEN_S,
        channel_id=interaction.channel_id or 0,
        message_id=responder.message_id or 0,
        user_id=responder.user_id,
        guild_id=interaction.guild_id,
        reachable=is_member or is_dm,
        private=responder.is_private,
        spoiler=request.spoiler,
        preview=request.preview,
        locale=translate.locale,
        file_limit_bytes=interaction.filesize_limit,
        of=request.of,
        credit=_credit(responder, request),
    )


def _credit(responder: Responder, request: JobRequest) -> Credit | None:
    return Credit(request.means, responder.user_id, request.source) if request.means else None


def _can_be_delivered(job: Job, target: DeliveryTarget) -> bool:
    """Return True if the job will probably end while its outcome can still be delivered."""
    return (
        target.reachable
        or job.eta_s is None
        or job.eta_s < target.token_until - time.time() - (TOKEN_S - _SAFE_S)
    )
