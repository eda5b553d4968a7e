"""The bot: builds its parts and receives the events of Discord."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import Collection
from typing import Any

import discord
from discord import app_commands
from discord.ext import commands

from bot.commands import option_checks
from bot.commands.admin import Admin
from bot.commands.compare import COMPARE, Compare
from bot.commands.imagine import MODEL_COMMANDS, START_OPTIONS, Imagine
from bot.commands.pictures import START_MENU, Pictures
from bot.commands.series import SeriesCommand
from bot.health import Connection
from bot.interactions.button_actions import ButtonActions, answer_expired
from bot.interactions.lookup import PictureLookup
from bot.interactions.responder import Interaction, Responder, reference_of
from bot.interactions.submission import Submission
from bot.jobs.follower import JobFollower
from bot.jobs.message_sender import MessageSender
from bot.jobs.outcome import OutcomeMessages
from bot.policy.guild_rules import GuildRulesStore
from bot.policy.user_defaults import UserDefaultsStore
from bot.service.client import CascadeClient
from bot.settings import Settings
from bot.telemetry.log import refer_to
from bot.telemetry.metrics import Metrics
from bot.text.catalog import Catalog
from bot.text.command_names import CommandTranslator
from bot.views import custom_ids
from cascade_core.errors import CascadeError
from cascade_core.operations.registry import IMAGE_TO_IMAGE, SERIES

_RETRY_S = 5.0

logger = logging.getLogger(__name__)


class Tree(app_commands.CommandTree["CascadeBot"]):
    """Gives every command a reference, and checks its options before it runs."""

    async def interaction_check(self, interaction: Interaction, /) -> bool:
        """Mark the command's task with its reference and check the options; return True.

        Raises:
            discord.app_commands.AppCommandError: see :func:`bot.commands.option_checks.check`.
                Other errors become this class, because discord.py would not pass them to the
                error handler.
        """
        refer_to(reference_of(interaction))
        if interaction.type is discord.InteractionType.application_command:
            try:
                option_checks.check(interaction)
            except app_commands.AppCommandError:
                raise
            except Exception as error:
                raise app_commands.AppCommandError("the options cannot be checked") from error
        return True


class CascadeBot(commands.AutoShardedBot):
    """The bot of one process.

    Args:
        settings: the bot's settings.
        client: the service's client.
        catalog: the bot's sentences.
        metrics: the bot's metrics.
    """

    def __init__(
        self, settings: Settings, client: CascadeClient, catalog: Catalog, metrics: Metrics
    ) -> None:
        super().__init__(
            command_prefix=commands.when_mentioned,
            help_command=None,
            tree_cls=Tree,
            intents=discord.Intents.none(),
            allowed_mentions=discord.AllowedMentions.none(),
            allowed_contexts=app_commands.AppCommandContext(
                guild=True, dm_channel=True, private_channel=True
            ),
            allowed_installs=app_commands.AppInstallationType(guild=True, user=True),
            max_messages=None,
            chunk_guilds_at_startup=False,
            member_cache_flags=discord.MemberCacheFlags.none(),
            http_trace=metrics.trace(),
        )
        self._settings = settings
        self._client = client
        self._catalog = catalog
        self._metrics = metrics
        outcomes = OutcomeMessages(client, catalog)
        self.follower = JobFollower(client, MessageSender(self), outcomes, catalog, metrics)
        self._submission = Submission(
            client,
            self.follower,
            GuildRulesStore(client),
            UserDefaultsStore(client),
            catalog,
            metrics,
            settings.max_open_per_user,
        )
        self._lookup = PictureLookup(client, outcomes)
        self._actions = ButtonActions(client, self._submission, self._lookup)
        self._background: set[asyncio.Task[None]] = set()
        self.tree.error(self._on_command_error)

    async def setup_hook(self) -> None:
        """Add the commands."""
        await self.tree.set_translator(CommandTranslator(self._catalog))
        await self.add_cog(Imagine(self._submission))
        await self.add_cog(Compare(self._submission))
        await self.add_cog(SeriesCommand(self._submission, self._lookup))
        await self.add_cog(Pictures(self.tree, self._submission, self._lookup, self._actions))
        await self.add_cog(Admin(self._client, self._submission))

    def begin(self) -> None:
        """Start the background tasks: recovery of deliveries, the model, and command sync."""
        self._start(self._retry_until_done(self._recover))
        self._start(self._retry_until_done(self._learn_model))
        self._start(self._retry_until_done(self._submission.user_defaults.migrate_private_list))
        if self._settings.sync:
            self._start(self._retry_until_done(self.sync_if_changed))

    async def close(self) -> None:
        """Finish requests in progress, pause live messages, and disconnect."""
        if self.is_closed():
            return
        for task in list(self._background):
            task.cancel()
        grace_s = self._settings.grace_s / 2
        await self._submission.close(grace_s)
        await self.follower.close(grace_s)
        await super().close()

    def connection(self) -> Connection:
        """Return the state of the connection to Discord."""
        shards = self.shards.values()
        is_up = bool(shards) and not any(shard.is_closed() for shard in shards)
        is_held = any(shard.is_ws_ratelimited() for shard in shards)
        return Connection(self.is_ready() and is_up and not is_held, self.latency)

    async def fit_commands(self) -> None:
        """Take away the commands and options for what none of the service's models can do.

        Where there is one model, none can be chosen or compared.

        Raises:
            CascadeError: the service does not answer.
        """
        models = await self._submission.models()
        if len(models) == 1:
            self._take_options(MODEL_COMMANDS, ("model",))
            self.tree.remove_command(COMPARE)
        if not any(model.offers(SERIES.name) for model in models):
            self.tree.remove_command(SERIES.name)
        starting = [model for model in models if model.offers(IMAGE_TO_IMAGE.name)]
        if not starting:
            self.tree.remove_command(START_MENU, type=discord.AppCommandType.message)
        if not any(model.takes_uploads for model in starting):
            self._take_options(("imagine",), START_OPTIONS)

    def _take_options(self, commands: Collection[str], options: Collection[str]) -> None:
        """Take options away from some of the slash commands that are there."""
        for command in map(self.tree.get_command, commands):
            if isinstance(command, app_commands.Command):
                for name in options:
                    command._params.pop(name, None)  # discord.py has no other way

    async def sync(self) -> int:
        """Register the commands, in the settings' servers or everywhere; return their number.

        Raises:
            CascadeError: the service does not answer.
            discord.HTTPException: Discord refuses the commands.
        """
        await self.fit_commands()
        guilds = [discord.Object(guild_id) for guild_id in self._settings.guild_ids]
        count = 0
        for guild in guilds:
            self.tree.copy_global_to(guild=guild)
            count += len(await self.tree.sync(guild=guild))
        if not guilds:
            count = len(await self.tree.sync())
        await self._client.set_preference(self._sync_name(), {"hash": await self.commands_hash()})
        return count

    async def sync_if_changed(self) -> None:
        """Register the commands unless the same ones are registered already."""
        await self.fit_commands()
        kept = await self._client.preference(self._sync_name())
        if kept == {"hash": await self.commands_hash()}:
            logger.info("the registered commands are up to date")
        else:
            logger.info("registered %d commands", await self.sync())

    async def commands_hash(self) -> str:
        """Return a digest of all commands in all languages, and of their servers."""
        translator = CommandTranslator(self._catalog)
        payloads = [
            await command.get_translated_payload(self.tree, translator)
            for command in self.tree.get_commands()
        ]
        text = json.dumps([payloads, self._settings.guild_ids], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    async def on_interaction(self, interaction: Interaction) -> None:
        """Route presses, choices and forms by their custom id; the tree routes commands."""
        data: dict[str, Any] = dict(interaction.data or {})
        # Of a select menu, the option that was chosen counts.
        chosen = data.get("values") or [data.get("custom_id", "")]
        custom_id = str(chosen[0])
        if not custom_ids.is_ours(custom_id):
            return
        refer_to(reference_of(interaction))
        responder = self._submission.responder_for(interaction)
        known = custom_ids.parse(custom_id)
        name = known.action if known else "expired"
        try:
            if known is None:
                await answer_expired(responder)
            elif interaction.type is discord.InteractionType.modal_submit:
                await self._actions.submit_form(responder, known)
            else:
                await self._actions.press(responder, known)
        except Exception as error:
            await responder.handle_error(error, name)
        else:
            self._metrics.interaction(name, "done")

    async def on_app_command_completion(self, _interaction: Interaction, command: Any) -> None:
        """Count a command that succeeded."""
        self._metrics.interaction(command.qualified_name, "done")

    async def on_error(self, event: str, /, *_args: Any, **_kwargs: Any) -> None:
        """Log an error in an event handler."""
        logger.exception("event %s failed", event)

    async def on_shard_connect(self, _shard_id: int) -> None:
        """Count the gateway event."""
        self._metrics.gateway("connect")

    async def on_shard_disconnect(self, _shard_id: int) -> None:
        """Count the gateway event."""
        self._metrics.gateway("disconnect")

    async def on_shard_resumed(self, _shard_id: int) -> None:
        """Count the gateway event."""
        self._metrics.gateway("resumed")

    async def on_shard_ready(self, shard_id: int) -> None:
        """Count the gateway event."""
        self._metrics.gateway("ready")
        logger.info("shard %d is ready", shard_id)

    async def _on_command_error(self, interaction: Interaction, error: Any) -> None:
        cause = error.original if isinstance(error, app_commands.CommandInvokeError) else error
        command = interaction.command
        name = command.qualified_name if command else "unknown"
        responder = Responder.of(interaction, self._catalog, self._metrics)
        await responder.handle_error(
            option_checks.user_error(cause, responder.translate) or cause, name
        )

    async def _recover(self) -> None:
        found = await self.follower.recover(self.application_id or 0)
        if found:
            logger.info("recovered %d jobs", found)

    async def _learn_model(self) -> None:
        await self._submission.model()

    def _sync_name(self) -> str:
        return f"commands.{self.application_id}"

    def _start(self, doing: Any) -> None:
        task = asyncio.create_task(doing)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _retry_until_done(self, do: Any) -> None:
        """Retry an action that needs the service until it succeeds."""
        while True:
            try:
                await do()
                return
            except CascadeError as error:
                logger.warning("%s waits for the service: %s", do.__name__, error)
            except Exception:
                logger.exception("%s failed and is retried", do.__name__)
            await asyncio.sleep(_RETRY_S)
