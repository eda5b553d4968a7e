"""The bot's process: start, signals and stop; a failed start is one sentence."""

from __future__ import annotations

import asyncio
import logging
import signal
from enum import IntEnum

import aiohttp
import discord

from bot.app import CascadeBot
from bot.health import Health
from bot.service.client import CascadeClient
from bot.settings import Settings
from bot.telemetry.metrics import Metrics
from bot.text.catalog import Catalog

logger = logging.getLogger(__name__)

_PERMISSIONS = discord.Permissions(
    view_channel=True,
    send_messages=True,
    send_messages_in_threads=True,
    attach_files=True,
    read_message_history=True,
)


class ExitCode(IntEnum):
    """The exit codes of the process."""

    DONE = 0
    FAILED = 1
    BAD_SETTINGS = 2
    UNREACHABLE = 3


class StartFailed(Exception):
    """The bot cannot start; the message says why in one sentence."""

    def __init__(self, message: str, exit_code: ExitCode) -> None:
        super().__init__(message)
        self.exit_code = exit_code


async def run_bot(settings: Settings) -> None:
    """Run until SIGTERM or Ctrl-C.

    Raises:
        StartFailed: Discord refuses the login or ends the connection.
        SettingsInvalid: the token is missing, or a secret cannot be read.
    """
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    token, metrics = settings.read_token(), Metrics()
    client = client_of(settings)
    bot = CascadeBot(settings, client, Catalog.load(), metrics)
    health = Health(client, metrics, bot.connection)
    try:
        async with bot:
            await log_in(bot, token)
            await health.start(settings.http_host, settings.http_port)
            bot.begin()
            await _until_stopped(bot, stopping)
    finally:
        await health.stop()
        await client.close()


def client_of(settings: Settings) -> CascadeClient:
    """Return a client of the service in the settings.

    Raises:
        SettingsInvalid: the key cannot be read.
    """
    key = settings.read_api_key()
    return CascadeClient(settings.url, key, budget_s=settings.service_timeout_s)


async def sync_commands(settings: Settings) -> int:
    """Register the commands and return their number.

    Raises:
        StartFailed: Discord refuses the login.
        CascadeError: the service does not answer.
    """
    token = settings.read_token()
    client = client_of(settings)
    try:
        async with CascadeBot(settings, client, Catalog.load(), Metrics()) as bot:
            await log_in(bot, token)
            return await bot.sync()
    finally:
        await client.close()


async def invite_links(settings: Settings) -> tuple[str, str]:
    """Return the links that add the bot to a server and to a personal account.

    Raises:
        StartFailed: Discord refuses the login.
    """
    token = settings.read_token()
    async with discord.Client(intents=discord.Intents.none()) as plain:
        await log_in(plain, token)
        application_id = plain.application_id or 0
    to_server = discord.utils.oauth_url(
        application_id, permissions=_PERMISSIONS, scopes=("bot", "applications.commands")
    )
    to_account = discord.utils.oauth_url(application_id, scopes=("applications.commands",))
    return f"{to_server}&integration_type=0", f"{to_account}&integration_type=1"


async def log_in(bot: discord.Client, token: str) -> None:
    """Log in to Discord.

    Raises:
        StartFailed: Discord does not know the token, or does not answer.
    """
    try:
        await bot.login(token)
    except discord.LoginFailure as error:
        message = "Discord does not know this DISCORD_TOKEN; reset it on the application's Bot page"
        raise StartFailed(message, ExitCode.BAD_SETTINGS) from error
    except (discord.HTTPException, aiohttp.ClientError, OSError) as error:
        raise StartFailed(f"Discord does not answer: {error}", ExitCode.UNREACHABLE) from error


async def _until_stopped(bot: CascadeBot, stopping: asyncio.Event) -> None:
    connecting = asyncio.create_task(bot.connect())
    waiting = asyncio.create_task(stopping.wait())
    await asyncio.wait({connecting, waiting}, return_when=asyncio.FIRST_COMPLETED)
    if connecting.done():
        waiting.cancel()
        error = connecting.exception()
        raise StartFailed(f"the connection to Discord ended: {error}", ExitCode.FAILED) from error
    logger.info("stopping")
    await bot.close()
    await asyncio.gather(connecting, return_exceptions=True)
