"""The emulator: a world, its servers, and a bot that gets their URLs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import TypeVar

from aiohttp import web

from tests.limits import HANG_S
from tests.wire.fake_discord.changes import Changes
from tests.wire.fake_discord.clock import Clock, Snowflakes
from tests.wire.fake_discord.faults import Faults
from tests.wire.fake_discord.gateway import Gateway
from tests.wire.fake_discord.interactions import Interaction
from tests.wire.fake_discord.messages import Json, Message, Upload
from tests.wire.fake_discord.people import Person
from tests.wire.fake_discord.rest import BASE, Rest
from tests.wire.fake_discord.routes import application, channels, interactions
from tests.wire.fake_discord.rules.limits import Limits
from tests.wire.fake_discord.rules.permissions import Permission
from tests.wire.fake_discord.rules.writing import Draft
from tests.wire.fake_discord.store import MessageStore, Rules
from tests.wire.fake_discord.traffic import Traffic
from tests.wire.fake_discord.world import Channel, ChannelType, Guild, Member, Role, User

T = TypeVar("T")
_MAX_BODY_BYTES = 128 << 20


class FakeDiscord:
    """A small Discord on a port of its own; an async context manager.

    Attributes:
        token: the bot's token.
        bot: the application's account; ``owner`` is the user that made it.
        commands: what was synced, by guild id (None: everywhere), then by type and name.
        interactions: by token.
        rules: deadlines and other figures; ``clock`` can be put forward.
        traffic: everything that was said.
        faults, limits, gateway: for bad days.
    """

    def __init__(self, token: str = "fake.bot.token") -> None:
        self.token = token
        self.clock = Clock()
        self.rules = Rules()
        self.snowflakes = Snowflakes(self.clock)
        self.traffic, self.faults, self.limits = Traffic(), Faults(), Limits()
        self.gateway = Gateway(self)
        self.messages = MessageStore(self)
        self.owner = User(self.snowflakes.new(), "owner")
        self.bot = User(self.snowflakes.new(), "cascade", is_bot=True)
        self.users: list[User] = [self.bot, self.owner]
        self.guilds: list[Guild] = []
        self.channels: list[Channel] = []
        self.commands: dict[str | None, dict[tuple[int, str], Json]] = {}
        self.interactions: dict[str, Interaction] = {}
        self._changes = Changes()
        self._port = 0

    # Where it is.

    @property
    def api_url(self) -> str:
        """The base of REST."""
        return f"{self.cdn_url}{BASE}"

    @property
    def gateway_url(self) -> str:
        """The address of the gateway."""
        return f"ws://127.0.0.1:{self._port}/gateway/"

    @property
    def cdn_url(self) -> str:
        """The base of the content network."""
        return f"http://127.0.0.1:{self._port}"

    async def __aenter__(self) -> FakeDiscord:
        app = web.Application(client_max_size=_MAX_BODY_BYTES)
        app.router.add_get("/gateway/", self.gateway.serve)
        app.router.add_get("/gateway/resume/", self.gateway.serve)
        app.router.add_get("/attachments/{rest:.*}", self._download)
        groups = (application, interactions, channels)
        Rest(self, *(group.ROUTES for group in groups)).mount(app)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.faults.clear()
        await self.gateway.drop(None)
        await self._runner.cleanup()

    async def _download(self, request: web.Request) -> web.Response:
        self.traffic.downloads.append(request.path)
        kept = self.messages.files.get(request.path)
        if kept is None or int(request.query.get("ex", "0"), 16) < self.clock.now_s():
            return web.Response(status=404, text="This content is no longer available.")
        return web.Response(body=kept.content, content_type=kept.upload.content_type)

    # What there is in it.

    def person(
        self,
        name: str,
        guild: Guild | None = None,
        permissions: Permission | None = None,
        locale: str = "en-US",
        has_app: bool = False,
    ) -> Person:
        """Add a person, maybe a member of a guild with permissions beyond everybody's."""
        user = User(self.snowflakes.new(), name, locale, has_app=has_app)
        self.users.append(user)
        person = Person(self, user)
        if guild is not None:
            self.join(guild, person, permissions)
        return person

    def guild(
        self,
        name: str = "lab",
        locale: str = "en-US",
        has_bot: bool = True,
        shard: int | None = None,
    ) -> Guild:
        """Add a guild, with or without the application, on any shard or a certain one."""
        on_shard = None if shard is None else (shard, self.gateway.shard_count)
        guild = Guild(self.snowflakes.new(shard=on_shard), name, self.owner.id, locale)
        self.guilds.append(guild)
        if has_bot:
            guild.members[self.bot.id] = Member(self.bot)
        return guild

    def join(self, guild: Guild, person: Person, permissions: Permission | None = None) -> None:
        """Make a person a member of a guild, maybe with permissions beyond everybody's."""
        user = person.user
        member = guild.members[user.id] = Member(user)
        if permissions is not None:
            role = Role(self.snowflakes.new(), f"{user.name}'s", permissions)
            guild.roles[role.id] = role
            member.role_ids.append(role.id)

    def channel(self, guild: Guild, name: str = "general", is_nsfw: bool = False) -> Channel:
        """Add a text channel to a guild."""
        kind = ChannelType.GUILD_TEXT
        channel = Channel(self.snowflakes.new(), name, kind, guild, is_nsfw)
        guild.channels.append(channel)
        self.channels.append(channel)
        return channel

    def dm(self, person: Person) -> Channel:
        """Return the channel of a person and the application."""
        return self.dm_of(person.user)

    def dm_of(self, user: User) -> Channel:
        """Return the channel of a user and the application."""
        for channel in self.channels:
            if channel.has_bot and channel.recipients == [user]:
                return channel
        return self._private([user], has_bot=True)

    def private_channel(self, *people: Person) -> Channel:
        """Add a channel of people, of which the application is not one."""
        return self._private([person.user for person in people], has_bot=False)

    def _private(self, users: list[User], has_bot: bool) -> Channel:
        kind = ChannelType.DM if len(users) <= 2 else ChannelType.GROUP_DM
        name = " and ".join(user.name for user in users)
        channel = Channel(self.snowflakes.new(), name, kind, recipients=users, has_bot=has_bot)
        self.channels.append(channel)
        return channel

    async def deny(self, channel: Channel, user: User, permissions: Permission) -> None:
        """Take permissions from a user in a channel of a guild, and tell the application."""
        channel.denied[user.id] = permissions
        await self.gateway.dispatch("CHANNEL_UPDATE", channel.json(), channel.guild_id)

    async def remove_bot(self, guild: Guild) -> None:
        """Throw the application out of a guild."""
        del guild.members[self.bot.id]
        await self.gateway.dispatch("GUILD_DELETE", {"id": guild.id}, guild.id)

    async def plant(
        self, channel: Channel, payload: Json, *uploads: Upload, age_s: float = 0.0
    ) -> Message:
        """Add a message that the application has sent earlier, as long ago as it says."""
        message = self.messages.new(channel, age_s=age_s)
        draft = Draft(payload, dict(enumerate(uploads)))
        await self.messages.write(message, draft, is_new=True)
        return message

    # What happens in it.

    def announce(self) -> None:
        """Wake all waiting tasks."""
        self._changes.announce()

    def announce_after(self, seconds: float) -> None:
        """Do so after a while, when time itself is what is waited for."""
        asyncio.get_running_loop().call_later(seconds, self.announce)

    def let_pass(self, seconds: float) -> None:
        """Put the clock forward."""
        self.clock.add(seconds)
        self.announce()

    async def wait_for(self, predicate: Callable[[], T], timeout_s: float = HANG_S) -> T:
        """Return the first true value of a predicate, asked again whenever something has happened.

        Raises:
            AssertionError: it stayed false; the message tells the last REST requests.
        """
        return await self._changes.wait_for(predicate, timeout_s, self._describe)

    async def online(self, timeout_s: float = HANG_S) -> None:
        """Wait until every shard of the application is connected and identified."""

        def is_online() -> bool:
            shards = {session.shard for session in self.gateway.connected()}
            return len(shards) == self.gateway.shard_count

        await self.wait_for(is_online, timeout_s)

    def _describe(self) -> str:
        seen = [
            f"{m.author.name}: {m.text!r}"
            for c in self.channels
            for m in self.messages.of_channel(c)
        ]
        return "\n".join(["messages:", *seen[-8:], "requests:", self.traffic.tail()])
