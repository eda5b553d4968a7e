"""The gateway: identifies shards, tells them what happens, resumes them, and has bad days."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from aiohttp import WSMsgType, web

from tests.wire.fake_discord.clock import shard_of
from tests.wire.fake_discord.sessions import PRIVILEGED, Close, Connection, Op, Session
from tests.wire.fake_discord.traffic import Frame

if TYPE_CHECKING:
    from tests.wire.fake_discord.server import FakeDiscord

_MAX_FRAMES, _WINDOW_S = 120, 60.0
_LATE = 1.5  # heartbeat intervals after which a silent connection is closed


class Gateway:
    """All sessions of the application.

    Attributes:
        shard_count: how many shards the application is told to use.
        heartbeat_s: how often a connection has to say that it lives.
        acknowledges: false is a connection that has died without anybody being told.
        granted: privileged intents that the application may ask for.
        identifies_left: how many sessions may still be started today.
    """

    def __init__(self, fake: FakeDiscord) -> None:
        self._fake = fake
        self.sessions: dict[str, Session] = {}
        self.shard_count = 1
        self.heartbeat_s = 41.25
        self.acknowledges = True
        self.granted = 0
        self.identifies_left = 1000

    def connected(self) -> list[Session]:
        """Return the sessions whose shard is there."""
        return [session for session in self.sessions.values() if session.is_connected]

    async def dispatch(self, event: str, data: Any, guild_id: str | None) -> None:
        """Tell the shards that take an event."""
        for session in list(self.sessions.values()):
            if session.takes(event, guild_id):
                await session.dispatch(event, data)
        self._fake.announce()

    async def drop(
        self, code: int | None = Close.UNKNOWN, shard: int | None = None, forget: bool = False
    ) -> None:
        """Close connections with a code; None breaks them without one.

        The sessions can be resumed, unless they are forgotten: then a resume is refused.
        """
        for session in self._live(shard):
            connection, session.connection = session.connection, None
            assert connection is not None
            if forget:
                self.sessions.pop(session.id)
            if code is None:
                connection.cut()
            else:
                await connection.close(code)

    async def ask_to_reconnect(self, shard: int | None = None) -> None:
        """Ask connections to come back soon, as Discord does before it restarts a host."""
        for session in self._live(shard):
            await self._tell(session, Op.RECONNECT, None)

    async def invalidate(self, shard: int | None = None, can_resume: bool = False) -> None:
        """Report that sessions are no longer valid; they are forgotten unless they can resume."""
        for session in self._live(shard):
            await self._tell(session, Op.INVALID_SESSION, can_resume)
            if not can_resume:
                self.sessions.pop(session.id, None)

    def _live(self, shard: int | None) -> list[Session]:
        return [session for session in self.connected() if shard in (None, session.shard)]

    async def _tell(self, session: Session, op: Op, data: Any) -> None:
        assert session.connection is not None
        await session.connection.send(op, data)

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        """Serve one connection until it ends."""
        connection = Connection(request, self._fake.traffic)
        await connection.socket.prepare(request)
        await _Talk(self._fake, self, connection).run()
        return connection.socket


class _Talk:
    """What is said over one connection."""

    def __init__(self, fake: FakeDiscord, gateway: Gateway, connection: Connection) -> None:
        self._fake, self._gateway, self._connection = fake, gateway, connection
        self._session: Session | None = None
        self._frames: deque[float] = deque(maxlen=_MAX_FRAMES + 1)
        self._beat = asyncio.Event()

    async def run(self) -> None:
        interval_ms = int(self._gateway.heartbeat_s * 1000)
        await self._connection.send(Op.HELLO, {"heartbeat_interval": interval_ms})
        watch = asyncio.create_task(self._watch_heartbeats())
        try:
            async for message in self._connection.socket:
                if message.type is not WSMsgType.TEXT:
                    break
                await self._hear(json.loads(message.data))
        finally:
            watch.cancel()
            self._end()

    async def _hear(self, payload: dict[str, Any]) -> None:
        op, data = payload["op"], payload.get("d")
        shard = self._session.shard if self._session else 0
        self._fake.traffic.received.append(Frame(shard, op, data))
        self._frames.append(time.monotonic())
        too_fast = (
            len(self._frames) > _MAX_FRAMES and self._frames[-1] - self._frames[0] < _WINDOW_S
        )
        if too_fast:
            await self._connection.close(Close.RATE_LIMITED, "Rate limited.")
        elif op == Op.HEARTBEAT:
            await self._hear_heartbeat()
        elif op == Op.IDENTIFY:
            await self._identify(payload["d"])
        elif op == Op.RESUME:
            await self._resume(payload["d"])
        elif self._session is None:
            await self._connection.close(Close.NOT_AUTHENTICATED, "Not authenticated.")
        elif op != Op.PRESENCE:
            await self._connection.close(Close.UNKNOWN_OPCODE, "Unknown opcode.")
        self._fake.announce()

    async def _hear_heartbeat(self) -> None:
        self._beat.set()
        if self._gateway.acknowledges:
            await self._connection.send(Op.HEARTBEAT_ACK)

    async def _watch_heartbeats(self) -> None:
        while True:
            self._beat.clear()
            try:
                async with asyncio.timeout(self._gateway.heartbeat_s * _LATE):
                    await self._beat.wait()
            except TimeoutError:
                await self._connection.close(Close.TIMED_OUT, "Session timed out.")
                return

    async def _identify(self, data: dict[str, Any]) -> None:
        shard, shard_count = data.get("shard", [0, 1])
        if refusal := self._refusal(data, shard, shard_count):
            await self._connection.close(*refusal)
            return
        self._gateway.identifies_left -= 1
        session = Session(
            secrets.token_hex(16), data["intents"], shard, shard_count, self._connection
        )
        self._gateway.sessions[session.id] = self._session = session
        self._connection.shard = shard
        guilds = self._guilds(session)
        unavailable = [{"id": guild_id, "unavailable": True} for guild_id in guilds]
        ready = {
            "v": 10,
            "user": self._fake.bot.own_json(),
            "guilds": unavailable,
            "session_id": session.id,
            "resume_gateway_url": self._fake.gateway_url + "resume/",
            "application": {"id": self._fake.bot.id, "flags": 0},
            "shard": [shard, shard_count],
        }
        await session.dispatch("READY", ready)
        for guild in guilds.values():
            if session.takes("GUILD_CREATE", guild["id"]):
                await session.dispatch("GUILD_CREATE", guild)

    def _refusal(
        self, data: dict[str, Any], shard: int, shard_count: int
    ) -> tuple[int, str] | None:
        if self._session is not None:
            return Close.ALREADY_AUTHENTICATED, "Already authenticated."
        if data["token"] != self._fake.token:
            return Close.AUTHENTICATION_FAILED, "Authentication failed."
        if not 0 <= shard < shard_count:
            return Close.INVALID_SHARD, "Invalid shard."
        if data["intents"] & PRIVILEGED & ~self._gateway.granted:
            return Close.DISALLOWED_INTENTS, "Disallowed intent(s)."
        return None

    def _guilds(self, session: Session) -> dict[str, dict[str, Any]]:
        bot, count = self._fake.bot, session.shard_count
        here = [guild for guild in self._fake.guilds if bot.id in guild.members]
        return {g.id: g.json() for g in here if shard_of(g.id, count) == session.shard}

    async def _resume(self, data: dict[str, Any]) -> None:
        session = self._gateway.sessions.get(data["session_id"])
        if data["token"] != self._fake.token:
            await self._connection.close(Close.AUTHENTICATION_FAILED, "Authentication failed.")
            return
        if session is None:
            await self._connection.send(Op.INVALID_SESSION, False)
            return
        if data["seq"] > len(session.log):
            await self._connection.close(Close.INVALID_SEQUENCE, "Invalid seq.")
            return
        seq, self._connection.shard = data["seq"], session.shard
        while seq < len(session.log):  # what happens meanwhile is added to the log alone
            await session.replay(self._connection, seq)
            seq += 1
        session.connection, self._session = self._connection, session
        await session.dispatch("RESUMED", {})

    def _end(self) -> None:
        session = self._session
        if session is None or session.connection is not self._connection:
            return
        session.connection = None
        if self._connection.ended_cleanly:
            self._gateway.sessions.pop(session.id, None)
        self._fake.announce()
