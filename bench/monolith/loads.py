"""What is sent: pictures from clients that wait for each other's, and requests at random times."""

from __future__ import annotations

import asyncio
import json
import random
import time
from base64 import b64decode
from collections.abc import Awaitable, Callable, Iterator

import aiohttp

from bench.monolith.models import DECODER_STEPS, GUIDANCE, SIDE_PX
from bench.service.load import ask

SHARE_OF_STEPS = {10: 0.45, 20: 0.40, 50: 0.15}

Send = Callable[[int], Awaitable[None]]
"""Requests a picture of so many steps and returns when it is there."""


def asker(session: aiohttp.ClientSession, url: str, *, is_ours: bool = False) -> Send:
    """Return a function that requests a picture and waits until it is ready."""
    seeds = iter(range(1_000_000))
    sizes = {"size": f"{SIDE_PX}x{SIDE_PX}", "decoder_steps": DECODER_STEPS} if is_ours else {}

    async def send(steps: int) -> None:
        seed = next(seeds)
        # Another prompt each time: Stage C keeps the embeddings of texts that come again.
        body = {"prompt": f"a red fox {seed}", "seed": seed, "steps": steps}
        guidance = {"guidance_scale": GUIDANCE}
        answer = await ask(session, "POST", url, 200, json=body | guidance | sizes)
        png = b64decode(json.loads(answer)["data"][0]["b64_json"]) if is_ours else answer
        if not png.startswith(b"\x89PNG"):
            raise RuntimeError(f"{url} answered no PNG")

    return send


def mix(chance: random.Random) -> Iterator[int]:
    """Yield numbers of steps without end."""
    while True:
        yield chance.choices(list(SHARE_OF_STEPS), list(SHARE_OF_STEPS.values()))[0]


def arrivals(rate_per_s: float, seconds: float) -> list[tuple[float, int]]:
    """Return when requests come, at random with a fixed rate, and their steps; always the same."""
    chance = random.Random(2)
    steps, at_s, found = mix(chance), 0.0, []
    while (at_s := at_s + chance.expovariate(rate_per_s)) < seconds:
        found.append((at_s, next(steps)))
    return found


async def open_loop(send: Send, coming: list[tuple[float, int]]) -> list[tuple[int, float]]:
    """Send requests when they are due; returns steps and seconds from due to answered."""
    begun_s = time.perf_counter()

    async def one(at_s: float, steps: int) -> tuple[int, float]:
        await asyncio.sleep(begun_s + at_s - time.perf_counter())
        await send(steps)
        return steps, time.perf_counter() - begun_s - at_s

    return await asyncio.gather(*(one(at_s, steps) for at_s, steps in coming))
