"""A bot as a process of its own, pointed at the emulator."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from multiprocessing.process import BaseProcess

from tests.fork_server import FORKS
from tests.limits import HANG_S
from tests.wire.fake_discord.server import FakeDiscord
from tests.wire.run_bot import run_in_fork

_ACK_DEADLINE_S = 10.0
_MAX_LINE_BYTES = 16 << 20


class BotProcess:
    """A running bot; ``log`` is what it has written so far, line by line."""

    def __init__(
        self, fake: FakeDiscord, process: BaseProcess, output: asyncio.StreamReader
    ) -> None:
        self._fake, self._process, self._output = fake, process, output
        self.log: list[str] = []
        self._line_read = asyncio.Condition()
        self._reading = asyncio.create_task(self._read())
        self._ending = asyncio.create_task(self._exit_code())

    @property
    def is_running(self) -> bool:
        """The process has not ended."""
        return self._process.is_alive()

    async def online(self, timeout_s: float = HANG_S) -> None:
        """Wait until all its shards are connected, or fail as soon as it ends."""
        online = asyncio.create_task(self._fake.online(timeout_s))
        await asyncio.wait((self._ending, online), return_when=asyncio.FIRST_COMPLETED)
        assert self.is_running, f"the bot ended with {self._process.exitcode}"
        await online

    async def logged(self, text: str, timeout_s: float = HANG_S) -> None:
        """Wait until a line of its log has this text."""
        async with asyncio.timeout(timeout_s), self._line_read:
            await self._line_read.wait_for(lambda: any(text in line for line in self.log))

    async def terminate(self) -> int:
        """Ask it to stop, as a supervisor does; returns its exit code."""
        return await self._end(signal.SIGTERM)

    async def kill(self) -> int:
        """Kill it on the spot; returns its exit code."""
        return await self._end(signal.SIGKILL)

    async def ended(self, timeout_s: float = HANG_S) -> int:
        """Wait for its end; returns its exit code."""
        async with asyncio.timeout(timeout_s):
            code = await asyncio.shield(self._ending)
            await self._reading
        return code

    async def _exit_code(self) -> int:
        ended, loop = asyncio.Event(), asyncio.get_running_loop()
        loop.add_reader(self._process.sentinel, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(self._process.sentinel)
        self._process.join()
        assert self._process.exitcode is not None
        return self._process.exitcode

    async def _end(self, how: signal.Signals) -> int:
        if self._process.pid is not None and self.is_running:
            os.kill(self._process.pid, how)
        return await self.ended()

    async def _read(self) -> None:
        async for line in self._output:
            self.log.append(line.decode(errors="replace").rstrip())
            async with self._line_read:
                self._line_read.notify_all()


@asynccontextmanager
async def running_bot(
    fake: FakeDiscord, *command: str, env: Mapping[str, str] | None = None
) -> AsyncIterator[BotProcess]:
    """Run a module (with arguments) whose bot logs in to the emulator; it is killed at the end.

    Its log goes to this process's output, so that a failing test shows it.
    """
    urls = {"API": fake.api_url, "GATEWAY": fake.gateway_url, "CDN": fake.cdn_url}
    variables = {f"FAKE_DISCORD_{name}": url for name, url in urls.items()}
    variables = {**os.environ, **variables, "DISCORD_TOKEN": fake.token, **(env or {})}
    here, there = FORKS.Pipe(duplex=False)
    process = FORKS.Process(target=run_in_fork, args=(list(command), variables, there), daemon=True)
    process.start()
    there.close()  # so that the end of the process is the end of its output
    output = asyncio.StreamReader(limit=_MAX_LINE_BYTES)
    file = os.fdopen(os.dup(here.fileno()), "rb")
    here.close()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(output), file
    )
    bot = BotProcess(fake, process, output)
    try:
        yield bot
    finally:
        await bot.kill()
        transport.close()
        print(f"log of {' '.join(command)}:", *bot.log, sep="\n")


StartBot = Callable[..., Awaitable[BotProcess]]


@asynccontextmanager
async def starting_bots(
    fake: FakeDiscord, service_url: str, api_key: str = ""
) -> AsyncIterator[StartBot]:
    """Yield a function that starts the bot, with further environment variables.

    The returned bot is online and its commands are registered. Discord waits longer than 3 s for
    its answers, because a busy machine would fail unrelated tests; ``bench.service.acks`` measures
    its answers.
    """
    fake.rules.ack_deadline_s = _ACK_DEADLINE_S
    usual = {"CASCADE_URL": service_url, "CASCADE_API_KEY": api_key, "BOT_HTTP_PORT": "0"}
    usual |= {"BOT_LOG_LEVEL": "DEBUG", "BOT_GRACE_S": "5"}
    async with AsyncExitStack() as stack:

        async def start(**more: str) -> BotProcess:
            bot = await stack.enter_async_context(running_bot(fake, "bot", env=usual | more))
            await bot.online()
            if more.get("BOT_SYNC") != "false":
                await fake.wait_for(lambda: bool(fake.commands))
            return bot

        yield start
