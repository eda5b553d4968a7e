"""Many requests at once: as many as the GPU takes, and mixed ones that come at random."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from statistics import median
from typing import Any

from bench.gpu.variants import Ours, with_new_prompt
from bench.stats import percentiles
from cascade_core.engine.engine import StepEngine
from cascade_core.engine.events import Event, Failed, Finished
from cascade_core.request import GenerationRequest

LOAD = 0.9
SLO_OVER_SOLO = 3

Draw = Callable[[GenerationRequest], object]
Kind = tuple[int, int]
"""A request's side in pixels and its Stage C steps."""


class Chain:
    """The stages of :class:`Ours`, each on an engine of its own, as the service has them.

    They share this process and its stream of GPU work; the service's are processes.
    """

    def __init__(self, ours: Ours, max_rows: int) -> None:
        self._family, self._stages = ours.pipeline.family, ours.pipeline.stages
        self._engines = {name: StepEngine(stage, max_rows) for name, stage in self._stages.items()}

    def __enter__(self) -> Chain:
        for engine in self._engines.values():
            engine.start()
        return self

    def __exit__(self, *_: object) -> None:
        for engine in self._engines.values():
            engine.close()

    def draw(self, request: GenerationRequest) -> Any:
        """Make a picture; from any thread."""
        request, output = with_new_prompt(request), None
        for spec in self._family.route(request):
            task = self._stages[spec.name].make_task(output, request)
            output = _result(self._engines[spec.name], task)
        return output


def pictures_per_s(draw: Draw, requests: list[GenerationRequest], clients: int) -> float:
    """Return the rate at which so many clients get pictures, each asking again at once."""
    with ThreadPoolExecutor(clients) as threads:
        begun_s = time.perf_counter()
        list(threads.map(draw, requests))
        return len(requests) / (time.perf_counter() - begun_s)


def solo_s(draw: Draw, requests: dict[Kind, GenerationRequest], repeats: int) -> dict[Kind, float]:
    """Return the median seconds of each kind of request alone, after one to warm up."""
    found = {}
    for kind, request in requests.items():
        draw(request)
        samples = []
        for _ in range(repeats):
            begun_s = time.perf_counter()
            draw(request)
            samples.append(time.perf_counter() - begun_s)
        found[kind] = median(samples)
    return found


def arrivals(
    shares: dict[Kind, float], rate_per_s: float, count: int
) -> Iterator[tuple[float, Kind]]:
    """Yield when requests come, at random with a fixed rate, and their kinds."""
    chance, at_s = random.Random(2), 0.0
    for _ in range(count):
        at_s += chance.expovariate(rate_per_s)
        yield at_s, chance.choices(list(shares), list(shares.values()))[0]


def under_load(
    draw: Draw,
    requests: dict[Kind, GenerationRequest],
    due: list[tuple[float, Kind]],
    alone_s: dict[Kind, float],
    workers: int,
) -> dict[str, float]:
    """Send requests when they are due; returns percentiles of the seconds until they are ready.

    Args:
        draw: makes a picture.
        requests: by kind.
        due: when each comes, and its kind.
        alone_s: seconds of one alone; three times as many are in time.
        workers: pictures begun at once; 1 makes them one after the other.
    """
    begun_s = time.perf_counter()

    def one(at_s: float, kind: Kind) -> float:
        draw(requests[kind])
        return time.perf_counter() - begun_s - at_s

    waiting = []
    with ThreadPoolExecutor(workers) as threads:
        for at_s, kind in due:
            threading.Event().wait(max(0.0, begun_s + at_s - time.perf_counter()))
            waiting.append(threads.submit(one, at_s, kind))
    taken_s = [future.result() for future in waiting]
    limits_s = [SLO_OVER_SOLO * alone_s[kind] for _, kind in due]
    in_time = [took_s <= limit_s for took_s, limit_s in zip(taken_s, limits_s, strict=True)]
    return percentiles(taken_s) | {"in_time": sum(in_time) / len(in_time)}


def _result(engine: StepEngine[Any, Any, Any], task: Any) -> Any:
    ended: SimpleQueue[Event] = SimpleQueue()

    def emit(event: Event) -> None:
        if isinstance(event, Finished | Failed):
            ended.put(event)

    engine.submit(task, emit)
    event = ended.get()
    if isinstance(event, Failed):
        raise event.error
    assert isinstance(event, Finished)
    return event.result
