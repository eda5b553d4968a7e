"""Pictures that people attach: which the service takes, and their way from Discord to it."""

from __future__ import annotations

import asyncio
import logging

import aiohttp
import discord

from bot.interactions.responder import Interaction
from bot.service.client import CascadeClient
from bot.text.error_messages import UserError
from cascade_core.errors import Conflict, ContentRefused, InvalidRequest, Unsupported
from cascade_core.images.upload_limits import (
    MAX_UPLOAD_BYTES,
    MAX_UPLOAD_PIXELS,
    MAX_UPLOAD_SIDE_PX,
    MIN_UPLOAD_SIDE_PX,
    UPLOAD_FORMATS,
)

_DOWNLOAD_S = 20.0
_MIB, _MEGAPIXEL = 1024 * 1024, 1_000_000

logger = logging.getLogger(__name__)


def is_picture(attachment: discord.Attachment) -> bool:
    """Return True if an attachment has a type that the service takes."""
    return attachment.content_type in UPLOAD_FORMATS.values()


def check_picture(attachment: discord.Attachment) -> None:
    """Check what Discord tells of an attachment, before it is fetched.

    Raises:
        UserError: the service would not take it.
    """
    width, height = attachment.width or MIN_UPLOAD_SIDE_PX, attachment.height or MIN_UPLOAD_SIDE_PX
    sides = sorted((width, height))
    if (
        not is_picture(attachment)
        or attachment.size > MAX_UPLOAD_BYTES
        or width * height > MAX_UPLOAD_PIXELS
        or not MIN_UPLOAD_SIDE_PX <= sides[0] <= sides[1] <= MAX_UPLOAD_SIDE_PX
    ):
        raise _no_upload()


async def upload(interaction: Interaction, client: CascadeClient, url: str, user: str) -> str:
    """Fetch an attachment from Discord, store it for a user, and return the upload's id.

    Raises:
        UserError: Discord does not have it any more, or the service does not take it.
        CascadeError: the service does not answer.
    """
    data = await _fetch(interaction, url)
    try:
        return await client.upload(data, user)
    except ContentRefused as error:
        raise UserError.because("picture_blocked") from error
    except InvalidRequest as error:
        raise _no_upload() from error
    except Conflict as error:
        raise UserError.because("no_room") from error
    except Unsupported as error:
        raise UserError.because("no_uploads") from error


async def _fetch(interaction: Interaction, url: str) -> bytes:
    try:
        async with asyncio.timeout(_DOWNLOAD_S):
            data: bytes = await interaction.client.http.get_from_cdn(url)
    except (discord.NotFound, discord.Forbidden) as error:
        raise UserError.because("picture_gone") from error
    except (discord.HTTPException, aiohttp.ClientError, TimeoutError) as error:
        logger.info("Discord does not give an attachment: %r", error)
        raise UserError.because("not_fetched") from error
    return data


def _no_upload() -> UserError:
    return UserError.because(
        "no_upload",
        size=MAX_UPLOAD_BYTES // _MIB,
        megapixels=MAX_UPLOAD_PIXELS // _MEGAPIXEL,
        shortest=MIN_UPLOAD_SIDE_PX,
        longest=MAX_UPLOAD_SIDE_PX,
    )
