"""An emulated Discord whose traffic is judged in the end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.wire.fake_discord.oracle import Oracle
from tests.wire.fake_discord.server import FakeDiscord


@asynccontextmanager
async def judged_discord(oracle: Oracle | None) -> AsyncIterator[FakeDiscord]:
    """Run an emulated Discord; in the end all that was said has to agree with the document."""
    async with FakeDiscord() as running:
        yield running
    assert running.traffic.breakdowns == []
    assert running.traffic.requests(status=501) == []
    assert oracle is None or oracle.findings(running.traffic) == []
