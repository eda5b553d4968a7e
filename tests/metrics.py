"""The service's metrics, as Prometheus would read them."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Collection

import httpx
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from serve.local.running import Running
from tests.limits import HANG_S

_LOOKS = 200
_LOOK_EVERY_S = 2.0
"""Ray collects them every few seconds. Many replicas leave megabytes of them, and printing and
parsing these takes a second of CPU time."""


def wait_for_samples(
    running: Running, names: Collection[str], are_wanted: Callable[[list[Sample]], bool]
) -> list[Sample]:
    """Read the series of these names until they are as wanted; returns them."""
    for _ in range(_LOOKS):
        found = _samples(running, names)
        if are_wanted(found):
            return found
        threading.Event().wait(_LOOK_EVERY_S)
    raise AssertionError(f"not as wanted: {found}")


def _samples(running: Running, names: Collection[str]) -> list[Sample]:
    text = httpx.get(running.metrics_url, timeout=HANG_S).text
    lines = [line for line in text.splitlines() if re.split("[{ ]", line, maxsplit=1)[0] in names]
    families = text_string_to_metric_families("\n".join(lines) + "\n")
    return [sample for family in families for sample in family.samples]
