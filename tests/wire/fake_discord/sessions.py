"""One shard's session: it outlives its connection, so that nothing is lost over a resume."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag
from typing import Any

from aiohttp import web

from tests.wire.fake_discord.clock import shard_of
from tests.wire.fake_discord.traffic import Frame, Traffic


class Op(IntEnum):
    """The kinds of gateway payload."""

    DISPATCH = 0
    HEARTBEAT = 1
    IDENTIFY = 2
    PRESENCE = 3
    RESUME = 6
    RECONNECT = 7
    INVALID_SESSION = 9
    HELLO = 10
    HEARTBEAT_ACK = 11


class Close(IntEnum):
    """Why the gateway closes a connection."""

    UNKNOWN = 4000
    UNKNOWN_OPCODE = 4001
    NOT_AUTHENTICATED = 4003
    AUTHENTICATION_FAILED = 4004
    ALREADY_AUTHENTICATED = 4005
    INVALID_SEQUENCE = 4007
    RATE_LIMITED = 4008
    TIMED_OUT = 4009
    INVALID_SHARD = 4010
    DISALLOWED_INTENTS = 4014


class Intent(IntFlag):
    """The intents that gate an event here, and those that Discord has to grant."""

    GUILDS = 1 << 0
    GUILD_MEMBERS = 1 << 1
    PRESENCES = 1 << 8
    GUILD_MESSAGES = 1 << 9
    DIRECT_MESSAGES = 1 << 12
    MESSAGE_CONTENT = 1 << 15


PRIVILEGED = Intent.GUILD_MEMBERS | Intent.PRESENCES | Intent.MESSAGE_CONTENT
_CLEAN = (1000, 1001)  # close codes after which nothing can be resumed


class Connection:
    """A websocket that speaks Discord's JSON, compressed if the application asked for that."""

    def __init__(self, request: web.Request, traffic: Traffic) -> None:
        self.socket = web.WebSocketResponse(max_msg_size=4096)
        self.shard = 0
        self.is_resume_url = request.path.endswith("/resume/")
        self._request, self._traffic = request, traffic
        is_compressed = request.query.get("compress") == "zlib-stream"
        self._zlib = zlib.compressobj() if is_compressed else None

    async def send(self, op: Op, data: Any = None, event: str | None = None, seq: int = 0) -> None:
        """Send a payload; without a receiver it is dropped."""
        if self.socket.closed:
            return
        self._traffic.sent.append(Frame(self.shard, op, data, event, seq))
        text = json.dumps({"op": int(op), "d": data, "t": event, "s": seq or None})
        try:
            if self._zlib is None:
                await self.socket.send_str(text)
            else:
                packed = self._zlib.compress(text.encode()) + self._zlib.flush(zlib.Z_SYNC_FLUSH)
                await self.socket.send_bytes(packed)
        except ConnectionError:
            self.cut()

    async def close(self, code: int, reason: str = "") -> None:
        """Close with a code."""
        await self.socket.close(code=code, message=reason.encode())

    def cut(self) -> None:
        """Break the connection without a word."""
        if self._request.transport is not None:
            self._request.transport.abort()

    @property
    def ended_cleanly(self) -> bool:
        """The application said that it needs the session no more."""
        return self.socket.close_code in _CLEAN


@dataclass(eq=False)
class Session:
    """What Discord remembers of a shard.

    Attributes:
        log: every event in order, for a resume; they are numbered from 1.
        connection: None while the shard is away.
    """

    id: str
    intents: int
    shard: int
    shard_count: int
    connection: Connection | None
    log: list[tuple[str, Any]] = field(default_factory=list)

    @property
    def is_connected(self) -> bool:
        """Its shard is there."""
        return self.connection is not None and not self.connection.socket.closed

    def takes(self, event: str, guild_id: str | None) -> bool:
        """Return True if the shard gets an event, by its guild and the requested intents."""
        if shard_of(guild_id, self.shard_count) != self.shard:
            return False
        if event.startswith("MESSAGE_"):
            needed = Intent.GUILD_MESSAGES if guild_id else Intent.DIRECT_MESSAGES
            return bool(self.intents & needed)
        if event.startswith(("GUILD_", "CHANNEL_")):
            return bool(self.intents & Intent.GUILDS)
        return True

    async def dispatch(self, event: str, data: Any) -> None:
        """Send an event, now or when the shard comes back."""
        self.log.append((event, data))
        if self.connection is not None:
            await self.replay(self.connection, len(self.log) - 1)

    async def replay(self, connection: Connection, index: int) -> None:
        """Send an event of the log."""
        event, data = self.log[index]
        await connection.send(Op.DISPATCH, data, event, index + 1)
