"""The service against servers around diffusers' pipeline: ``python -m bench.monolith``.

    Ray Serve, one replica around the pipeline
    Ray Serve, the same with its batching
    LitServe with its batching, which is neither Ray's nor ours

All answer the same HTTP requests with a PNG, one replica each on one torch thread, in turns, for
the demo model and for one that is bound by dispatching operations. `bench.monolith.models` says
what that is.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Final

from bench.monolith.loads import SHARE_OF_STEPS, Send, arrivals, asker, mix, open_loop
from bench.monolith.models import USUAL_STEPS, model_folders
from bench.monolith.peers import MOST_TOGETHER, deploy_in_ray, litserve
from bench.monolith.table import BATCHED, LITSERVE, LOAD, OURS, PLAIN, SLO_OVER_SOLO, table
from bench.ports import free_port
from bench.service.chaos import scratch_settings
from bench.service.load import closed_loop, http_session
from bench.stats import machine, percentiles, summary, write_result
from serve.local.cluster import start

CLIENTS: Final = (1, 4, 16)
"""`--clients 1,4,16,64` takes half an hour more: the plain server draws 64 in five minutes."""
ROUNDS: Final = 2
ANY_NUMBER: Final = 100_000
"""All clients are one user to the service. By default, a user may have fewer jobs open."""
SOLO_REPEATS: Final = 3


def main() -> None:
    """Measure all servers on each model and write the result."""
    given, where = _arguments(), machine()
    if given.folder is not None:
        with tempfile.TemporaryDirectory() as name:
            given.into.write_text(json.dumps(_compare(given.folder, Path(name), given)))
        return
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        folders = model_folders(scratch)
        models = {
            model: _in_own_process(folder, scratch, given) for model, folder in folders.items()
        }
    result = {"machine": where, "models": models}
    write_result("monolith", result, table(result))


def _in_own_process(folder: Path, scratch: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Compare on one model; Ray Serve deploys no peer in a second cluster of one process."""
    into = scratch / "result.json"
    times = ("--closed-s", str(given.closed_s), "--open-s", str(given.open_s))
    clients = ("--clients", ",".join(map(str, given.clients)))
    command = [sys.executable, "-m", "bench.monolith", *times, *clients]
    subprocess.run([*command, "--folder", str(folder), "--into", str(into)], check=True)
    found: dict[str, Any] = json.loads(into.read_text())
    return found


def _compare(folder: Path, data_folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Run all servers on one model, side by side; only one of them has requests at a time."""
    model = {
        "model": str(folder),
        "max_rows": MOST_TOGETHER,
        "torch_threads": 1,
        "device": "cpu",
        "max_open_jobs": ANY_NUMBER,
        "max_open_jobs_per_user": ANY_NUMBER,
    }
    settings = scratch_settings(data_folder, port=free_port()).model_copy(update=model)
    running = start(settings)
    try:
        deploy_in_ray(folder)
        with litserve(folder, free_port()) as litserve_url:
            return asyncio.run(_measure(running.url, litserve_url, given))
    finally:
        running.stop()


async def _measure(url: str, litserve_url: str, given: argparse.Namespace) -> dict[str, Any]:
    async with http_session(url) as session, http_session(litserve_url) as litserve_session:
        sends = {
            OURS: asker(session, "/v1/images/generations", is_ours=True),
            PLAIN: asker(session, "/plain"),
            BATCHED: asker(session, "/batched"),
            LITSERVE: asker(litserve_session, "/predict"),
        }
        for send in sends.values():  # warm-up of connections and of every number of rows
            await closed_loop(partial(send, USUAL_STEPS), MOST_TOGETHER, 3.0)
        solo_s = {name: await _solo_s(send) for name, send in sends.items()}
        closed = await _closed(sends, given.clients, given.closed_s)
        steps = mix(random.Random(1))

        def mixed() -> Awaitable[None]:
            return sends[PLAIN](next(steps))

        done, took_s = await closed_loop(mixed, MOST_TOGETHER, given.closed_s)
        rate_per_s = LOAD * len(done) / took_s
        opened = await _opened(sends, rate_per_s, given.open_s, solo_s[PLAIN])
    return {"solo_s": solo_s, "closed": closed, "open_rate_per_s": rate_per_s, "open": opened}


async def _solo_s(send: Send) -> dict[int, float]:
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


async def _closed(
    sends: dict[str, Send], clients: Sequence[int], seconds: float
) -> dict[int, dict[str, Any]]:
    """Return pictures per second and the seconds of each, by number of clients and server."""
    per_s: dict[int, dict[str, list[float]]] = {count: {} for count in clients}
    took: dict[int, dict[str, list[float]]] = {count: {} for count in clients}
    for _ in range(ROUNDS):
        for count in clients:
            for name, send in sends.items():
                usual = partial(send, USUAL_STEPS)
                samples_s, took_s = await closed_loop(usual, count, seconds)
                per_s[count].setdefault(name, []).append(len(samples_s) / took_s)
                took[count].setdefault(name, []).extend(samples_s)
    return {
        count: {
            name: {"per_s": summary(values), "seconds": summary(took[count][name])}
            for name, values in of_count.items()
        }
        for count, of_count in per_s.items()
    }


async def _opened(
    sends: dict[str, Send], rate_per_s: float, seconds: float, solo_s: dict[int, float]
) -> dict[str, list[dict[str, float]]]:
    """Return how long requests took that came at random, for each round of the same arrivals."""
    coming = arrivals(rate_per_s, seconds)
    found: dict[str, list[dict[str, float]]] = {name: [] for name in sends}
    for _ in range(ROUNDS):
        for name, send in sends.items():
            runs = await open_loop(send, coming)
            in_time = sum(took_s <= SLO_OVER_SOLO * solo_s[steps] for steps, took_s in runs)
            measured = percentiles([took_s for _, took_s in runs])
            found[name].append(measured | {"in_time": in_time / len(runs)})
    return found


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--closed-s", type=float, default=20.0, help="of each closed loop")
    parser.add_argument("--open-s", type=float, default=120.0, help="of each open loop")
    parser.add_argument("--clients", type=_counts, default=CLIENTS, help="such as 1,4,16,64")
    parser.add_argument("--folder", type=Path, help="measure on this model alone, see --into")
    parser.add_argument("--into", type=Path, help="a JSON file for what was measured")
    return parser.parse_args()


def _counts(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(",")))


if __name__ == "__main__":
    main()
