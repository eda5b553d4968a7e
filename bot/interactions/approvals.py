"""Submits pictures to a server's approval channel, and carries the decisions of its people."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import replace

import discord

from bot.interactions.lookup import PictureLookup
from bot.interactions.pressed_message import check_owner, link_to
from bot.interactions.responder import ANSWER_TIMEOUT_S, FORM_S, Interaction, Responder
from bot.interactions.submission import Submission
from bot.jobs.delivery_target import presentation_of
from bot.jobs.message_sender import MessageSender, attachments
from bot.jobs.outcome import file_name
from bot.policy.guild_rules import GuildRules
from bot.policy.job_request import find_image
from bot.service.assets import Asset, AssetCalls
from bot.service.client import CascadeClient
from bot.text.error_messages import UserError
from bot.views import approval_messages
from bot.views.attachments import PictureFile, fit, thumbnail
from bot.views.components import Layout, notice
from bot.views.custom_ids import CustomId
from bot.views.modals import RejectForm, reason_from
from cascade_core.errors import AssetConflict, CascadeError, Forbidden, FourEyes, NotFound, NotReady

_PER_PAGE = 4
_THUMBNAIL_PX = 512
_FILE_BYTES = 8 * 1024 * 1024
"""Every server takes files of this size."""

logger = logging.getLogger(__name__)


class Approvals:
    """The handlers of *Submit*, *Approve*, *Reject* and ``/approved``.

    Args:
        client: the service's client.
        submission: has the rules of servers.
        lookup: finds jobs and pictures.
    """

    def __init__(
        self, client: CascadeClient, submission: Submission, lookup: PictureLookup
    ) -> None:
        self._client = client
        self._assets = AssetCalls(client)
        self._submission = submission
        self._lookup = lookup

    async def submit(self, responder: Responder, pressed: CustomId) -> None:
        """Submit a picture, and post it in the approval channel.

        The message comes first, so that no picture waits unseen if the bot dies in between.

        Raises:
            UserError: the picture is another person's or gone, was submitted before, or the
                server has no approval channel that the bot can write to.
        """
        check_owner(responder.interaction)
        await responder.defer(private=True)
        rules = await self._rules(responder.interaction)
        job = await self._lookup.own_job(pressed.subject, responder.user)
        image = find_image(job, pressed.index)
        asset = await self._assets.asset(image.id)
        if asset.state not in ("draft", "rejected"):
            raise UserError.because(f"already_{asset.state}")
        shown = replace(asset, version=asset.version + 1)
        file = await self._file(asset, file_name(job, image))
        spoiler = presentation_of(job.client_state).spoiler
        layout = approval_messages.waiting(
            responder.public_translator(), shown, responder.user_id, file, spoiler=spoiler
        )
        message = await self._post(responder.interaction, rules.approval_channel, layout)
        try:
            await self._assets.tag(image.id, _tag(responder.interaction), responder.user)
            await self._assets.change(image.id, "submit", responder.user, asset.version)
        except CascadeError as error:
            with suppress(discord.HTTPException):
                await message.delete()
            if isinstance(error, AssetConflict):
                raise UserError.because("already_submitted") from error
            raise
        where = f"<#{rules.approval_channel}>"
        await responder.send(notice(responder.translate("approval.submitted", channel=where)))

    async def approve(self, responder: Responder, pressed: CustomId) -> None:
        """Approve a picture.

        Raises:
            UserError: the person does not decide here.
            FourEyes: the person made or submitted it.
        """
        await responder.acknowledge()
        await self._check_reviewer(responder.interaction)
        await self._decide(responder, pressed, "approve", "")

    async def reject(self, responder: Responder, pressed: CustomId) -> None:
        """Ask why a picture is rejected.

        Raises:
            UserError: the person does not decide here.
            NotReady: the service does not answer in time: a form must open within three seconds.
        """
        try:
            async with asyncio.timeout(FORM_S):
                await self._check_reviewer(responder.interaction)
        except TimeoutError as error:
            raise NotReady("the service did not answer in time") from error
        await responder.open_form(RejectForm(responder.translate, pressed))

    async def submit_reject(self, responder: Responder, submitted: CustomId) -> None:
        """Reject a picture for the reason in the form.

        Raises:
            UserError: the person does not decide here, or gave no reason.
        """
        await responder.acknowledge()
        await self._check_reviewer(responder.interaction)
        reason = reason_from(dict(responder.interaction.data or {}))
        if not reason:
            raise UserError.because("no_reason")
        await self._decide(responder, submitted, "reject", reason)

    async def approved(self, responder: Responder) -> None:
        """Show the first page of the server's approved pictures.

        Raises:
            UserError: there is no server.
        """
        if responder.interaction.guild_id is None:
            raise UserError.because("guild_only")
        await responder.defer(private=True)
        await responder.send(await self._page(responder, ""))

    async def page(self, responder: Responder, pressed: CustomId) -> None:
        """Show the next page of the server's approved pictures."""
        await responder.acknowledge()
        await responder.edit_message(await self._page(responder, pressed.subject))

    async def _page(self, responder: Responder, cursor: str) -> Layout:
        tag = _tag(responder.interaction)
        found, next_cursor = await self._assets.approved(tag, cursor, _PER_PAGE)
        files = await asyncio.gather(*map(self._thumbnail, found))
        return approval_messages.approved(responder.translate, found, files, next_cursor)

    async def _decide(
        self, responder: Responder, pressed: CustomId, action: str, reason: str
    ) -> None:
        """Carry a decision and show what the picture is then, also where another came first."""
        version = int(pressed.arg) if pressed.arg.isdecimal() else 0
        conflict: AssetConflict | None = None
        try:
            asset = await self._assets.change(
                pressed.subject, action, responder.user, version, reason
            )
        except AssetConflict as error:
            asset, conflict = await self._assets.asset(pressed.subject), error
        except FourEyes:  # which is Forbidden, too
            raise
        except (Forbidden, NotFound) as error:
            # A key without the scope does not see what other people submitted.
            await self._assets.asset(pressed.subject)
            raise UserError.because("key_without_review") from error
        is_own = asset.decided_by == responder.user and asset.version == version + 1
        job = await self._client.job(asset.job_id)
        image = job.image(asset.index)
        name = asset.id if image is None else file_name(job, image)
        spoiler = presentation_of(job.client_state).spoiler
        file = await self._file(asset, name)
        translate = responder.public_translator()
        layout = approval_messages.decided(translate, asset, file, spoiler=spoiler)
        await responder.edit_message(layout)
        if conflict is not None and not is_own:  # else a repeated request met its first attempt
            raise UserError.because("decided_before") from conflict
        await self._tell(responder, asset)

    async def _tell(self, responder: Responder, asset: Asset) -> None:
        """Tell the submitter of the decision; one that takes no direct messages is not told."""
        name, _, number = (asset.submitted_by or "").partition(":")
        message = responder.interaction.message
        if name != "discord" or not number.isdecimal() or message is None:
            return
        layout = approval_messages.told(responder.public_translator(), asset, link_to(message))
        sender = MessageSender(responder.interaction.client)
        nonce = f"{asset.version}{asset.id}"[-25:]
        result = await sender.send_direct(int(number), layout, nonce)
        logger.info("the decision on %s was told: %s", asset.id, result.value)

    async def _rules(self, interaction: Interaction) -> GuildRules:
        """Return the rules of a server that has an approval channel.

        Raises:
            UserError: it has none, or there is no server.
        """
        rules = await self._submission.guild_rules.get(interaction.guild_id)
        if not rules.approval_channel:
            raise UserError.because("no_approval")
        return rules

    async def _check_reviewer(self, interaction: Interaction) -> None:
        rules = await self._rules(interaction)
        if not rules.approval_role:
            if not interaction.permissions.manage_guild:
                raise UserError.because("not_admin")
        elif not _has_role(interaction, rules.approval_role):
            raise UserError.because("no_approver", role=f"<@&{rules.approval_role}>")

    async def _post(
        self, interaction: Interaction, channel_id: int, layout: Layout
    ) -> discord.Message:
        client: discord.Client = interaction.client
        channel = client.get_partial_messageable(channel_id)
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                return await channel.send(view=layout, files=attachments(layout))
        except discord.HTTPException as error:
            logger.info("the approval channel %s cannot be used: %r", channel_id, error)
            raise UserError.because("approval_closed", channel=f"<#{channel_id}>") from error

    async def _file(self, asset: Asset, name: str) -> PictureFile:
        data = await self._client.image(asset.id)
        return await asyncio.to_thread(fit, name, data, _FILE_BYTES)

    async def _thumbnail(self, asset: Asset) -> tuple[str, bytes]:
        data = await self._client.image(asset.id)
        return f"{asset.id}.webp", await asyncio.to_thread(thumbnail, data, _THUMBNAIL_PX)


def _tag(interaction: Interaction) -> str:
    """Return the tag of pictures that were submitted in a server, which no other server shows."""
    return f"discord-{interaction.guild_id}"


def _has_role(interaction: Interaction, role_id: int) -> bool:
    member = interaction.user
    # discord.py's public methods look roles up in a cache, which this bot does not have.
    return isinstance(member, discord.Member) and member._roles.has(role_id)
