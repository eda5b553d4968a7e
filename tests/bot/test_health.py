"""Liveness, readiness and metrics over HTTP."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator

import aiohttp
import httpx
import pytest
import pytest_asyncio

from bot import health as health_module
from bot.health import Connection, Health
from bot.service.client import CascadeClient
from bot.telemetry.metrics import Metrics


class World:
    """What the bot is connected to."""

    def __init__(self) -> None:
        self.connection = Connection(True, 0.05)
        self.service_status = 200

    def answer(self, _request: httpx.Request) -> httpx.Response:
        return httpx.Response(self.service_status, json={"status": "ready"})


@pytest.fixture
def world() -> World:
    return World()


@pytest_asyncio.fixture
async def health(world: World, unused_tcp_port: int) -> AsyncIterator[tuple[Health, str]]:
    client = CascadeClient("http://x", transport=httpx.MockTransport(world.answer))
    health = Health(client, Metrics(), lambda: world.connection)
    await health.start("127.0.0.1", unused_tcp_port)
    yield health, f"http://127.0.0.1:{unused_tcp_port}"
    await health.stop()
    await client.close()


async def status(url: str) -> int:
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        await answer.read()
        return answer.status


async def test_health_readiness_and_metrics_are_answered(
    health: tuple[Health, str], world: World
) -> None:
    _, url = health
    assert [await status(f"{url}{path}") for path in ("/healthz", "/readyz", "/metrics")] == [
        200
    ] * 3
    world.connection = Connection(False, math.nan)
    assert await status(f"{url}/readyz") == 503
    assert await status(f"{url}/healthz") == 200  # not yet connected is no reason to restart
    world.connection = Connection(True, 61.0)
    assert await status(f"{url}/healthz") == 503


async def test_a_service_that_was_not_ready_for_long_makes_the_bot_not_ready(
    health: tuple[Health, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    watched, _ = health
    assert watched.problems() == []
    monkeypatch.setattr(health_module, "PROBE_COUNTS_S", -1.0)
    assert watched.problems() == ["the picture service is not ready"]
