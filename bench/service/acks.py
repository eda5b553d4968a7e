"""How soon the bot answers people while the service works, is down, and hangs.

    python -m bench.service.acks

The real bot as its own process between the tests' emulated Discord and the real gateway; commands
and clicks in turns, each from a person's action to the bot's first answer at Discord.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path
from typing import Any

from bench.stats import machine, percentiles, percentiles_ms, write_result
from tests.bot.gateway import Service, running_service
from tests.wire.bot_messages import has_button
from tests.wire.bot_process import starting_bots
from tests.wire.fake_discord.messages import Message
from tests.wire.fake_discord.people import Person
from tests.wire.fake_discord.server import FakeDiscord
from tests.wire.fake_discord.world import Channel

REPEATS = 50
TARGET_S = 1.0
NO_LIMIT = 100_000
PATIENCE_S = 20.0


def main() -> None:
    """Measure and write the result."""
    where = machine()
    with tempfile.TemporaryDirectory() as folder:
        acked_s = asyncio.run(_measure(Path(folder)))
    rows = {
        service: percentiles(times_s) | {"max": max(times_s)}
        for service, times_s in acked_s.items()
    }
    write_result("acks", {"acked_s": rows, "machine": where}, _table(rows))


async def _measure(folder: Path) -> dict[str, list[float]]:
    async with (
        running_service(folder, max_open_jobs_per_user=NO_LIMIT) as service,
        FakeDiscord() as fake,
    ):
        guild = fake.guild()
        channel, alice = fake.channel(guild), fake.person("alice", guild)
        async with starting_bots(fake, service.url, service.make_key()) as start_bot:
            await start_bot(BOT_LOG_LEVEL="ERROR", BOT_MAX_OPEN_PER_USER="200")
            picture = await _picture(service, fake, channel, alice)
            people = (fake.person(f"person {number}", guild) for number in count())
            acked_s = {"well": await _acks(channel, people, picture)}
            await service.stop()
            acked_s["gone"] = await _acks(channel, people, picture)
            await service.hang()
            acked_s["hanging"] = await _acks(channel, people, picture)
    return acked_s


async def _picture(service: Service, fake: FakeDiscord, channel: Channel, alice: Person) -> Message:
    asked = await alice.slash(channel, "imagine", prompt="a red fox")
    job_id = await service.submitted.get()
    message = await asked.reply(lambda m: has_button(m, "cancel"), PATIENCE_S)
    await service.succeed(job_id)
    await fake.wait_for(lambda: has_button(message, "edit"), PATIENCE_S)
    return message


async def _acks(channel: Channel, people: Iterator[Person], picture: Message) -> list[float]:
    acked_s = []
    # A second press of one person would count as an accident, and submit nothing.
    for person in islice(people, REPEATS):
        for asked in (
            await person.slash(channel, "imagine", prompt="a fox"),
            await person.click(picture, "Vary details"),
        ):
            await asked.acked()
            assert asked.ack_latency_s is not None
            acked_s.append(asked.ack_latency_s)
    return acked_s


def _table(rows: dict[str, Any]) -> str:
    lines = [
        "| the service is | p50 / p95 / p99 | slowest | answers | target |",
        "|---|---|---|---|---|",
    ]
    for service, row in rows.items():
        cuts, slowest = percentiles_ms(row), f"{row['max'] * 1e3:.1f} ms"
        lines.append(f"| {service} | {cuts} | {slowest} | {row['n']} | <= {TARGET_S:g} s |")
    lines += ["", "Not measured: the way to Discord and back."]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
