"""``/admin``: a server's rules for pictures, and the service's status."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from discord import AppCommandOptionType, ChannelType, app_commands
from discord.app_commands import Range
from discord.ext import commands

from bot.interactions.responder import Interaction, Responder
from bot.interactions.submission import Submission
from bot.policy.guild_rules import GuildRules
from bot.policy.job_request import MAX_IMAGES
from bot.service.client import CascadeClient
from bot.text.error_messages import UserError
from bot.views import info_messages
from cascade_core.errors import NotReady
from cascade_core.operations.fields import MAX_STEPS

_MAX_OPEN = 100
_MAX_LIST_CHARS = 2000


class ChannelId(app_commands.Transformer):
    """A channel option that becomes the channel's id; the bot keeps no channels in memory."""

    @property
    def type(self) -> AppCommandOptionType:
        """Return the type of option that Discord shows."""
        return AppCommandOptionType.channel

    @property
    def channel_types(self) -> list[ChannelType]:
        """Return the channel types to choose from; a thread counts as its parent channel."""
        return [ChannelType.text, ChannelType.news, ChannelType.voice, ChannelType.forum]

    async def transform(self, _interaction: Interaction, value: Any, /) -> int:
        """Return the channel's id."""
        return int(value.id)


class RoleId(app_commands.Transformer):
    """A role option that becomes the role's id; the bot keeps no roles in memory."""

    @property
    def type(self) -> AppCommandOptionType:
        """Return the type of option that Discord shows."""
        return AppCommandOptionType.role

    async def transform(self, _interaction: Interaction, value: Any, /) -> int:
        """Return the role's id."""
        return int(value.id)


Channel = app_commands.Transform[int, ChannelId]
Role = app_commands.Transform[int, RoleId]


@app_commands.allowed_contexts(guilds=True, dms=False, private_channels=False)
@app_commands.allowed_installs(guilds=True, users=False)
@app_commands.default_permissions(manage_guild=True)
class Admin(
    commands.GroupCog, group_name="admin", group_description="Rules for pictures in this server"
):
    """The commands for a server's managers; the bot checks the permission itself, too.

    Args:
        client: the service's client.
        submission: has the stored rules.
    """

    def __init__(self, client: CascadeClient, submission: Submission) -> None:
        super().__init__()
        self._client = client
        self._submission = submission

    @app_commands.command(description="How much one person may ask for")
    @app_commands.describe(
        images="Pictures at a time",
        steps="Steps at most",
        under_way="Jobs in progress per person; 0: no limit",
    )
    async def limits(
        self,
        interaction: Interaction,
        images: Range[int, 0, MAX_IMAGES] | None = None,
        steps: Range[int, 0, MAX_STEPS] | None = None,
        under_way: Range[int, 0, _MAX_OPEN] | None = None,
    ) -> None:
        """Change the limits, and show the rules."""
        given = {"max_images": images, "max_steps": steps, "max_open": under_way}
        chosen: dict[str, Any] = {name: most for name, most in given.items() if most is not None}
        await self._change(interaction, lambda rules: replace(rules, **chosen))

    @app_commands.command(description="Words that prompts may not have")
    @app_commands.describe(
        add="Words to block, separated by commas",
        remove="Words to allow again, separated by commas",
        age_restricted="Allow them in age-restricted channels",
    )
    async def blocklist(
        self,
        interaction: Interaction,
        add: Range[str, 1, _MAX_LIST_CHARS] | None = None,
        remove: Range[str, 1, _MAX_LIST_CHARS] | None = None,
        age_restricted: bool = False,
    ) -> None:
        """Change the blocked words, and show the rules."""
        await self._change(
            interaction, lambda rules: rules.with_words(add or "", remove or "", age_restricted)
        )

    @app_commands.command(description="Where pictures may be made")
    @app_commands.describe(
        allow="Allow this channel; others are closed then",
        forbid="Take this channel off the list",
    )
    async def channels(
        self,
        interaction: Interaction,
        allow: Channel | None = None,
        forbid: Channel | None = None,
    ) -> None:
        """Change the channels, and show the rules."""
        await self._change(interaction, lambda rules: rules.with_channels(allow, forbid))

    @app_commands.command(description="Where submitted pictures are approved, and by which role")
    @app_commands.describe(
        channel="Post them here",
        role="Members with this role decide; without one, members that may manage the server",
        off="No more submissions in this server",
    )
    async def approval(
        self,
        interaction: Interaction,
        channel: Channel | None = None,
        role: Role | None = None,
        off: bool = False,
    ) -> None:
        """Change where pictures are approved and by which role, and show the rules."""
        given = {"approval_channel": channel, "approval_role": role}
        chosen: dict[str, Any] = {name: one for name, one in given.items() if one is not None}
        if off:
            chosen = {"approval_channel": 0, "approval_role": 0}
        await self._change(interaction, lambda rules: replace(rules, **chosen))

    @app_commands.command(description="How the picture service is doing")
    async def status(self, interaction: Interaction) -> None:
        """Show replicas, queue and error rate."""
        responder, _ = await self._check_and_defer(interaction)
        problem = ""
        try:
            await self._client.check()
        except NotReady as error:
            problem = error.message
        await responder.send(
            info_messages.status(responder.translate, await self._client.status(), problem)
        )

    async def _check_and_defer(self, interaction: Interaction) -> tuple[Responder, int]:
        """Check the permission and acknowledge; return the responder and the server's id.

        Raises:
            UserError: the person may not manage the server, or there is no server.
        """
        responder = self._submission.responder_for(interaction)
        if interaction.guild_id is None:
            raise UserError.because("guild_only")
        if not interaction.permissions.manage_guild:
            raise UserError.because("not_admin")
        await responder.defer(private=True)
        return responder, interaction.guild_id

    async def _change(
        self, interaction: Interaction, change: Callable[[GuildRules], GuildRules]
    ) -> None:
        responder, guild_id = await self._check_and_defer(interaction)
        await responder.send(
            info_messages.rules(
                responder.translate, await self._submission.guild_rules.change(guild_id, change)
            )
        )
