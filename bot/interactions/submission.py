"""Where orders are taken: from an interaction to a job whose message lives."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from ulid import ULID

from bot.interactions.location import channel_ids, is_adult_place
from bot.interactions.responder import Interaction, Talk
from bot.jobs.destination import TOKEN_S, Address
from bot.jobs.follower import Courier
from bot.policy.credit import Credit
from bot.policy.guild_rules import GuildRules, Rules
from bot.policy.job_request import Order
from bot.policy.user_defaults import Defaults, People
from bot.service.client import CascadeClient
from bot.service.models import OPEN_STATES, Job, ModelInfo
from bot.telemetry.metrics import Metrics
from bot.text.catalog import Texts
from bot.text.error_messages import Refusal
from bot.views import picture_messages as layouts
from bot.views.snapshot import Snapshot
from cascade_core.errors import CascadeError, InvalidRequest, NotReady, RateLimited

_SAFE_S = TOKEN_S - 120
_FORSAKE_PAUSES_S = (1.0, 5.0, 15.0, 60.0, 300.0)
MakeOrder = Callable[[Defaults], Awaitable[Order]]

logger = logging.getLogger(__name__)


class Desk:
    """Takes orders.

    Args:
        client: of the service.
        courier: brings what is made.
        rules: of servers.
        people: and what they like.
        texts: what is said.
        metrics: what is counted.
        max_open: jobs that one person may have under way; 0: no limit.
    """

    def __init__(
        self,
        client: CascadeClient,
        courier: Courier,
        rules: Rules,
        people: People,
        texts: Texts,
        metrics: Metrics,
        max_open: int,
    ) -> None:
        self._client = client
        self._courier = courier
        self.rules = rules
        self.people = people
        self._texts = texts
        self._metrics = metrics
        self._max_open = max_open
        self._model: ModelInfo | None = None
        self._cancelling: set[asyncio.Task[None]] = set()
        self._placing: dict[asyncio.Task[Any], str] = {}  # for whom, the first one first
        self._is_closed = False

    async def close(self, grace_s: float) -> None:
        """Take no more orders; those being placed may be finished, or are told of the stop."""
        self._is_closed = True
        if not self._placing:
            return
        _, unfinished = await asyncio.wait(self._placing, timeout=grace_s / 2)
        for task in unfinished:
            task.cancel()
        if unfinished:
            await asyncio.wait(unfinished, timeout=grace_s / 2)

    def talk(self, interaction: Interaction) -> Talk:
        """Begin to answer an interaction."""
        return Talk(interaction, self._texts, self._metrics)

    def known_model(self) -> ModelInfo | None:
        """Return the service's model if it was ever heard of; asks nobody."""
        return self._model

    async def model(self) -> ModelInfo:
        """Return the service's model; it is asked for again only after a restart of the bot."""
        if self._model is None:
            self._model = await self._client.model()
        return self._model

    async def place(self, talk: Talk, make: MakeOrder) -> None:
        """Have an order made up, acknowledge, place it, and let its message live.

        Args:
            talk: not acknowledged yet.
            make: makes the order from what its orderer likes.
        """
        task = asyncio.current_task()
        if self._is_closed or task is None:
            raise NotReady("the bot is stopping")
        self._placing[task] = talk.user
        before = list(self._placing.values()).count(talk.user) - 1
        try:
            await self._place(talk, make, before)
        except asyncio.CancelledError:
            raise NotReady("the bot is stopping") from None
        finally:
            del self._placing[task]

    async def _place(self, talk: Talk, make: MakeOrder, before: int) -> None:
        """Place an order; ``before``: how many of the same person are being placed already."""
        making = self._make(talk, make, before)
        order = await talk.hold_when_ready(making, lambda made: made.private)
        job_id = str(ULID())
        if talk.is_undecided and not order.private:
            voice = talk.public_voice()
            credit = _credit(talk, order)
            await talk.go_public(
                layouts.live(voice, job_id, order.prompt, Snapshot(), credit=credit)
            )
        address = _address(talk, order)
        job = await self._submit(order, job_id, talk.user, address)
        if not _will_arrive(job, address):
            self._forsake(job.id)
            raise Refusal.because("too_long_here")
        logger.info("placed job %s", job.id)
        self._courier.take(job, address)

    async def _make(self, talk: Talk, make: MakeOrder, before: int) -> Order:
        order = await make(await self.people.of(talk.user))
        rules = await self.check_place(talk, order)
        if rules.max_steps and order.steps is None and order.latent_id is None:
            default = (await self.model()).steps
            order = replace(order, steps=min(default, rules.max_steps))
        await self._check_open(talk.user, rules.max_open, before)
        return order

    async def check_place(self, talk: Talk, order: Order) -> GuildRules:
        """Check an order, or a picture as if it were ordered, by the rules of where it is shown.

        Raises:
            Refusal: it may not be shown there.
        """
        interaction = talk.interaction
        rules = await self.rules.of(interaction.guild_id)
        rules.check(order, channel_ids(interaction), is_adult_place(interaction))
        return rules

    async def _check_open(self, user: str, max_open_here: int, before: int) -> None:
        most = min(filter(None, (max_open_here, self._max_open)), default=0)
        if not most:
            return
        pages = await asyncio.gather(
            *(self._client.jobs(user=user, state=state, limit=most) for state in OPEN_STATES)
        )
        if sum(len(page.jobs) for page in pages) + before >= most:
            raise Refusal.because("too_many_open", count=most)

    async def _submit(self, order: Order, job_id: str, user: str, address: Address) -> Job:
        try:
            return await self._client.create_job(
                order.to_body(), job_id=job_id, user=user, client_state=address.to_state()
            )
        except InvalidRequest as error:
            if error.field not in ("width", "height"):
                raise
            self._model = None  # it is another one than it was
            model = await self.model()
            sides = {"lowest": model.min_side, "highest": model.max_side}
            raise Refusal.because("size", **sides, step=model.multiple_of) from error
        except NotReady:
            # Whether it was accepted is unknown; nobody waits for it now.
            self._forsake(job_id)
            raise

    def _forsake(self, job_id: str) -> None:
        """Cancel a job as soon as the service answers; returns at once."""
        task = asyncio.create_task(self._cancel(job_id))
        self._cancelling.add(task)
        task.add_done_callback(self._cancelling.discard)

    async def _cancel(self, job_id: str) -> None:
        for pause_s in _FORSAKE_PAUSES_S:
            try:
                await self._client.cancel(job_id)
            except (NotReady, RateLimited):
                await asyncio.sleep(pause_s)
            except CascadeError:
                return
            else:
                return
        logger.warning("job %s could not be cancelled, its outcome will be delivered", job_id)


def _address(talk: Talk, order: Order) -> Address:
    interaction = talk.interaction
    # In direct messages with the bot there is no server to be installed in, but it is there.
    is_member = interaction.is_guild_integration() and interaction.guild_id is not None
    is_dm = interaction.guild_id is None and interaction.context.dm_channel is True
    voice = talk.voice if talk.is_private else talk.public_voice()
    return Address(
        application_id=interaction.application_id,
        token=interaction.token,
        # By this machine's clock, which need not agree with Discord's.
        token_until=talk.began_at + TOKEN_S,
        channel_id=interaction.channel_id or 0,
        message_id=talk.message_id or 0,
        user_id=talk.user_id,
        guild_id=interaction.guild_id,
        reachable=is_member or is_dm,
        private=talk.is_private,
        spoiler=order.spoiler,
        preview=order.preview,
        locale=voice.locale,
        file_limit_bytes=interaction.filesize_limit,
        of=order.of,
        credit=_credit(talk, order),
    )


def _credit(talk: Talk, order: Order) -> Credit | None:
    return Credit(order.means, talk.user_id, order.source) if order.means else None


def _will_arrive(job: Job, address: Address) -> bool:
    """Tell whether a job will probably be done while it can still be brought to who asked."""
    return (
        address.reachable
        or job.eta_s is None
        or job.eta_s < address.token_until - time.time() - (TOKEN_S - _SAFE_S)
    )
