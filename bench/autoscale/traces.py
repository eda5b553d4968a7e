"""Arrivals: two generated traces that are part of the repository, a step, and a public one.

python -m bench.autoscale.traces        # writes the generated ones again
"""

from __future__ import annotations

import csv
import math
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

TRACES_DIR = Path(__file__).parent / "traces"
FIELDS = ("at_s", "kind", "images")
GENERATED = {"bursty": (24.0, 1), "gentle": (6.0, 2)}
"""Speed and seed."""

_IMAGES, _IMAGES_WEIGHTS = (1, 2, 4, 8), (58, 8, 19, 15)
"""Images per job as in GenTD26."""
_VARY_SHARE = 0.2
_DAY_S, _NIGHT = 86_400.0, 0.4
"""Traces begin at midnight; nothing comes for a third of the day."""
_JOBS_PER_S = 0.045
_SPREAD, _MEMORY_S = 0.9, 3600.0


@dataclass(frozen=True, slots=True)
class Arrival:
    """A job as a client sends it.

    Attributes:
        at_s: seconds from the start of the trace.
        kind: ``generate`` or ``vary_details``.
        images: how many of it.
    """

    at_s: float
    kind: str
    images: int


def read_trace(path: Path) -> list[Arrival]:
    """Read a trace with the columns ``at_s``, ``kind`` and ``images``."""
    with path.open(newline="") as file:
        return [
            Arrival(float(row["at_s"]), row["kind"], int(row["images"]))
            for row in csv.DictReader(file)
        ]


def read_gentd26(path: Path, first_day: str, days: int, speed: float) -> list[Arrival]:
    """Read part of Alibaba's text-to-image trace GenTD26, played faster than it happened.

    Source: ``lora_request_trace.csv`` of alibaba/clusterdata, cluster-trace-v2026-GenAI (Lin et
    al., SoCC '25). Its times are whole seconds; a fixed seed spreads them within theirs.

    Args:
        path: the file; it is not part of this repository.
        first_day: ISO date.
        days: how many from there.
        speed: seconds of the trace per simulated second.
    """
    start = datetime.fromisoformat(first_day)
    end, jitter = start + timedelta(days=days), random.Random(0)
    found = []
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            at = datetime.fromisoformat(row["gmt_create"])
            if start <= at < end:
                seconds = (at - start).total_seconds() + jitter.random()
                images = int(float(row["num_images_per_prompt"] or 1))
                found.append(Arrival(seconds / speed, "generate", images))
    return sorted(found, key=lambda arrival: arrival.at_s)


def generate(speed: float, seed: int, length_s: float = 14_400.0) -> list[Arrival]:
    """Generate days like those of GenTD26, played faster than they happened.

    By night nothing comes; by day the logarithm of the rate wanders. Spread and memory are set so
    that the images per 10, 30 and 60 s vary as they do in that trace.

    Args:
        speed: seconds of the trace per simulated second.
        seed: of everything random.
        length_s: simulated.
    """
    rng, every_s = random.Random(seed), 10.0
    kept = math.exp(-every_s * speed / _MEMORY_S)
    day_s = _DAY_S / speed
    log, rates = rng.gauss(0.0, _SPREAD), []
    for index in range(int(length_s / every_s) + 1):
        log = kept * log + rng.gauss(0.0, _SPREAD * math.sqrt(1 - kept**2))
        sun = max(0.0, _NIGHT - math.cos(2 * math.pi * index * every_s / day_s))
        rates.append(sun * speed * _JOBS_PER_S * math.exp(log - _SPREAD**2 / 2))
    return list(_poisson(lambda at_s: rates[int(at_s / every_s)], max(rates), length_s, rng))


def step(low: float, high: float, at_s: float, length_s: float, seed: int = 3) -> list[Arrival]:
    """One image per job; the rate changes once from ``low`` to ``high`` per second."""
    rng = random.Random(seed)
    rising = _poisson(lambda now_s: high if now_s >= at_s else low, high, length_s, rng)
    return [Arrival(arrival.at_s, "generate", 1) for arrival in rising]


def _poisson(
    rate: Callable[[float], float], peak: float, length_s: float, rng: random.Random
) -> Iterator[Arrival]:
    """Thinning (Lewis and Shedler, 1979): candidates at the peak rate, some of them kept."""
    at_s = rng.expovariate(peak)
    while at_s < length_s:
        if rng.random() < rate(at_s) / peak:
            kind = "vary_details" if rng.random() < _VARY_SHARE else "generate"
            yield Arrival(at_s, kind, rng.choices(_IMAGES, _IMAGES_WEIGHTS)[0])
        at_s += rng.expovariate(peak)


def write_trace(path: Path, arrivals: Iterable[Arrival]) -> None:
    """Write what `read_trace` reads, to a tenth of a second."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(FIELDS)
        writer.writerows((f"{item.at_s:.1f}", item.kind, item.images) for item in arrivals)


if __name__ == "__main__":
    for name, (speed, seed) in GENERATED.items():
        write_trace(TRACES_DIR / f"{name}.csv", generate(speed, seed))
