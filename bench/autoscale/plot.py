"""Replicas and queues of a live run over time, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bench.autoscale.live import Sample
from bench.stats import RESULTS_DIR
from cascade_core.families.stable_cascade import STABLE_CASCADE

PLOT = RESULTS_DIR / "autoscale_live.svg"
_COLOURS = {"c": "tab:blue", "b": "tab:orange", "a": "tab:green"}


def write(samples: Sequence[Sample], path: Path = PLOT) -> None:
    """Draw replicas above open images, one line per stage; dashed with those that start."""
    mpl.rcParams["svg.hashsalt"] = "cascade"
    figure = Figure(figsize=(8, 5), layout="constrained")
    replicas, queue = figure.subplots(2, sharex=True)
    at_s = [sample.at_s for sample in samples]
    for stage in STABLE_CASCADE.names:
        colour, name = _COLOURS[stage], f"Stage {stage.upper()}"
        running = [sample.running[stage] for sample in samples]
        wanted = [sample.running[stage] + sample.starting[stage] for sample in samples]
        replicas.step(at_s, running, where="post", color=colour, label=name)
        replicas.step(at_s, wanted, where="post", color=colour, linestyle=":")
        queue.plot(at_s, [sample.open_images[stage] for sample in samples], color=colour)
    replicas.set_ylabel("replicas")
    replicas.set_title("dotted: with those that start", fontsize="small", loc="left")
    replicas.legend()
    replicas.yaxis.set_major_locator(MaxNLocator(integer=True))
    queue.set_ylabel("images still to be done")
    queue.set_xlabel("seconds")
    figure.savefig(path, metadata={"Date": None})
