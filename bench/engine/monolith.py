"""The service against the simplest design: a Ray Serve replica around diffusers' pipeline.

    python -m bench.engine.monolith

All answer the same HTTP requests with a PNG, in one Ray cluster, one replica per deployment, one
torch thread each, in turns. The model has as many blocks as the published one, but so few channels
that a step takes as long as dispatching its operations, as it does for small pictures on a large
GPU: rows that share a step are cheap then.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import random
import tempfile
import time
from base64 import b64decode
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import aiohttp
import torch
from diffusers.models.unets.unet_stable_cascade import StableCascadeUNet
from PIL import Image
from ray import serve as ray_serve
from starlette.requests import Request
from starlette.responses import Response

from bench.service.chaos import scratch_settings
from bench.service.load import ask, closed_loop, http_session
from bench.stats import machine, percentiles, summary, write_result
from cascade_core.families.stable_cascade import STABLE_CASCADE
from serve.local.cluster import start
from tests.tiny_model import TinyModel, build_tiny_model, stock_combined, write_combined

CLIENTS, ROUNDS = 16, 2
LOAD = 0.9
SHARE_OF_STEPS = {10: 0.45, 20: 0.40, 50: 0.15}
USUAL_STEPS, DECODER_STEPS, SIDE_PX = 20, 10, 256
SLO_OVER_SOLO = 3
SOLO_REPEATS = 5
TARGETS = {"throughput": 2.5, "p95": 0.35, "slo": 0.95}
OURS, PLAIN, BATCHED = "Cascade Serve", "diffusers' pipeline", "diffusers' pipeline, @serve.batch"

Send = Callable[[int], Awaitable[None]]


class Pipeline:
    """Diffusers' combined pipeline, one request after another."""

    def __init__(self) -> None:
        torch.set_num_threads(1)
        self._pipeline = stock_combined(_model())
        self._lock = asyncio.Lock()

    async def __call__(self, request: Request) -> Response:
        """Answer a JSON body with a PNG."""
        body = await request.json()
        async with self._lock:
            (picture,) = await asyncio.to_thread(self._draw, body["steps"], [body])
        return _png(picture)

    def _draw(self, steps: int, bodies: list[dict[str, Any]]) -> list[Image.Image]:
        pictures: list[Image.Image] = self._pipeline(
            prompt=[body["prompt"] for body in bodies],
            width=SIDE_PX,
            height=SIDE_PX,
            prior_num_inference_steps=steps,
            prior_guidance_scale=bodies[0]["guidance_scale"],
            num_inference_steps=DECODER_STEPS,
            decoder_guidance_scale=1.0,
            generator=[torch.Generator().manual_seed(body["seed"]) for body in bodies],
        ).images
        return pictures


class BatchedPipeline(Pipeline):
    """The same with Ray Serve's batching: requests of equal steps that arrive together."""

    async def __call__(self, request: Request) -> Response:
        """Answer a JSON body with a PNG."""
        return _png(await self._together(await request.json()))

    @ray_serve.batch(max_batch_size=CLIENTS, batch_wait_timeout_s=0.02)  # type: ignore[untyped-decorator]
    async def _together(self, bodies: list[dict[str, Any]]) -> list[Image.Image]:
        drawn: dict[int, Image.Image] = {}
        for steps in sorted({body["steps"] for body in bodies}):
            places = [place for place, body in enumerate(bodies) if body["steps"] == steps]
            same = [bodies[place] for place in places]
            drawn |= zip(places, await asyncio.to_thread(self._draw, steps, same), strict=True)
        return [drawn[place] for place in range(len(bodies))]


def main() -> None:
    """Start all three, measure, stop them and write the result."""
    given, where = _arguments(), machine()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_combined(_model(), folder / "model")
        model = {
            "model": str(folder / "model"),
            "max_rows": CLIENTS,
            "torch_threads": 1,
            "device": "cpu",
        }
        running = start(scratch_settings(folder / "data").model_copy(update=model), STABLE_CASCADE)
        try:
            for path, pipeline in (("plain", Pipeline), ("batched", BatchedPipeline)):
                _deploy(path, pipeline)
            result = asyncio.run(_measure(running.url, given))
        finally:
            running.stop()
    result = {"machine": where, **result}
    write_result("monolith", result, _table(result))


def _model() -> TinyModel:
    """Return the same random weights every time, in as many blocks as the published U-Nets have.

    Stage B sees patches of 8 in place of 2 pixels of its latents; at 2 it is bound by computing.
    """
    model = build_tiny_model(lite=True)
    prior = dict(model.prior.config) | _layers([8, 24])
    decoder = dict(model.decoder.config) | _layers([2, 6, 28, 6]) | {"patch_size": 8}
    return replace(
        model,
        prior=StableCascadeUNet.from_config(prior).eval().requires_grad_(False),
        decoder=StableCascadeUNet.from_config(decoder).eval().requires_grad_(False),
    )


def _layers(down: list[int]) -> dict[str, list[int]]:
    return {"down_num_layers_per_block": down, "up_num_layers_per_block": down[::-1]}


def _deploy(path: str, pipeline: type) -> None:
    options = {"max_ongoing_requests": 1000, "ray_actor_options": {"num_cpus": 0.1}}
    deployment = ray_serve.deployment(pipeline, name=path, **options)
    ray_serve.run(deployment.bind(), name=path, route_prefix=f"/{path}")


async def _measure(url: str, given: argparse.Namespace) -> dict[str, Any]:
    async with http_session(url) as session:
        sends = {
            OURS: _asker(session, "/v1/images/generations", is_ours=True),
            PLAIN: _asker(session, "/plain"),
            BATCHED: _asker(session, "/batched"),
        }
        for send in sends.values():  # warm-up of connections and of every number of rows
            await closed_loop(partial(send, USUAL_STEPS), CLIENTS, 3.0)
        solo = {name: await _solo(send) for name, send in sends.items()}
        closed: dict[str, list[float]] = {name: [] for name in sends}
        for _ in range(ROUNDS):
            for name, send in sends.items():
                usual = partial(send, USUAL_STEPS)
                done, took_s = await closed_loop(usual, CLIENTS, given.closed_s)
                closed[name].append(len(done) / took_s)
        steps = _mix(random.Random(1))

        def mixed() -> Awaitable[None]:
            return sends[PLAIN](next(steps))

        done, took_s = await closed_loop(mixed, CLIENTS, given.closed_s)
        rate = LOAD * len(done) / took_s
        arrivals = list(_arrivals(rate, given.open_s))
        opened = {name: await _open_loop(send, arrivals) for name, send in sends.items()}
    limits = {step: SLO_OVER_SOLO * median_s for step, median_s in solo[PLAIN].items()}
    return {
        "solo_s": solo,
        "closed_per_s": {name: summary(values) for name, values in closed.items()},
        "open_rate_per_s": rate,
        "open": {
            name: percentiles([took_s for _, took_s in runs])
            | {"in_time": sum(took_s <= limits[step] for step, took_s in runs) / len(runs)}
            for name, runs in opened.items()
        },
    }


def _asker(session: aiohttp.ClientSession, path: str, *, is_ours: bool = False) -> Send:
    """Return a function that requests a picture and waits until it is ready."""
    seeds = iter(range(1_000_000))
    sizes = {"size": f"{SIDE_PX}x{SIDE_PX}", "decoder_steps": DECODER_STEPS} if is_ours else {}

    async def send(steps: int) -> None:
        seed = next(seeds)
        # Another prompt each time: Stage C keeps the embeddings of texts that come again.
        body = {"prompt": f"a red fox {seed}", "seed": seed, "steps": steps, "guidance_scale": 4.0}
        answer = await ask(session, "POST", path, 200, json=body | sizes)
        png = b64decode(json.loads(answer)["data"][0]["b64_json"]) if is_ours else answer
        if not png.startswith(b"\x89PNG"):
            raise RuntimeError(f"{path} answered no PNG")

    return send


async def _solo(send: Send) -> dict[int, float]:
    """Return the median seconds of single requests, by steps."""
    found = {}
    for steps in SHARE_OF_STEPS:
        samples = []
        for _ in range(SOLO_REPEATS):
            sent_s = time.perf_counter()
            await send(steps)
            samples.append(time.perf_counter() - sent_s)
        found[steps] = median(samples)
    return found


def _mix(chance: random.Random) -> Iterator[int]:
    """Yield numbers of steps without end."""
    while True:
        yield chance.choices(list(SHARE_OF_STEPS), list(SHARE_OF_STEPS.values()))[0]


def _arrivals(rate_per_s: float, seconds: float) -> Iterator[tuple[float, int]]:
    """Yield when requests come, at random with a fixed rate, and their steps."""
    chance = random.Random(2)
    steps, at_s = _mix(chance), 0.0
    while (at_s := at_s + chance.expovariate(rate_per_s)) < seconds:
        yield at_s, next(steps)


async def _open_loop(send: Send, arrivals: list[tuple[float, int]]) -> list[tuple[int, float]]:
    """Send requests when they are due; returns steps and seconds from due to answered."""
    begun_s = time.perf_counter()

    async def one(at_s: float, steps: int) -> tuple[int, float]:
        await asyncio.sleep(begun_s + at_s - time.perf_counter())
        await send(steps)
        return steps, time.perf_counter() - begun_s - at_s

    return await asyncio.gather(*(one(at_s, steps) for at_s, steps in arrivals))


def _png(picture: Image.Image) -> Response:
    data = io.BytesIO()
    picture.save(data, "PNG")
    return Response(data.getvalue(), media_type="image/png")


def _table(result: dict[str, Any]) -> str:
    closed, opened, solo = result["closed_per_s"], result["open"], result["solo_s"]
    rate = result["open_rate_per_s"]
    lines = [
        f"| pictures of {USUAL_STEPS} + {DECODER_STEPS} steps | one client, median "
        f"| {CLIENTS} clients, per second (least-most) | of diffusers' |",
        "|---|---|---|---|",
    ]
    for name, values in closed.items():
        alone_s, over = solo[name][USUAL_STEPS], values["median"] / closed[PLAIN]["median"]
        spread = f"{values['median']:.1f} ({values['min']:.1f}-{values['max']:.1f})"
        lines.append(f"| {name} | {alone_s * 1e3:.0f} ms | {spread} | {over:.2f}x |")
    lines += [
        "",
        f"| {rate:.1f} requests a second at random, {'/'.join(map(str, SHARE_OF_STEPS))} steps "
        "mixed | p50 / p95 / p99 | p95 of diffusers' | within 3x solo |",
        "|---|---|---|---|",
    ]
    for name, run in opened.items():
        seconds = " / ".join(f"{run[cut]:.2f}" for cut in ("p50", "p95", "p99"))
        over = run["p95"] / opened[PLAIN]["p95"]
        lines.append(f"| {name} | {seconds} s | {over:.2f}x | {run['in_time']:.1%} |")
    note = (
        f"Targets: {TARGETS['throughput']}x the pictures of diffusers' pipeline; p95 at most "
        f"{TARGETS['p95']}x its own and {TARGETS['slo']:.0%} in time, at {LOAD} of what it can do. "
        "Solo is diffusers' own. Random weights, as many blocks as the published U-Nets, few "
        "channels; one replica and torch thread each, so three stages may use both cores; up to "
        f"{CLIENTS} rows a step. Cascade Serve's requests are durable jobs, the others' are lost "
        "with their process. Not measured: a GPU; a model so large that rows do not share a step "
        "for less."
    )
    return "\n".join([*lines, "", note])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--closed-s", type=float, default=45.0, help="of each closed loop")
    parser.add_argument("--open-s", type=float, default=240.0, help="of each open loop")
    return parser.parse_args()


if __name__ == "__main__":
    main()
