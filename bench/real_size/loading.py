"""What loading one stage takes: seconds and memory, in a process that does nothing else."""

from __future__ import annotations

import gc
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from cascade_core.checkpoints.checkpoint import Checkpoint, ModelSource, open_checkpoint
from cascade_core.checkpoints.weights import Placement
from cascade_core.families.spec import StageSpec
from cascade_core.families.stable_cascade import STABLE_CASCADE

_LINES: Final = {"private": "RssAnon", "mapped": "RssFile", "resident": "VmRSS", "peak": "VmHWM"}
_RESET_PEAK: Final = "5"


def memory_bytes(pid: int | str = "self") -> dict[str, int]:
    """Return a process's memory, as Linux counts it.

    Returns:
        ``private`` and ``mapped`` (from files) memory that is resident, both as ``resident``, and
        the highest ``resident`` until now as ``peak``.
    """
    lines = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    return {name: int(lines[line].split()[0]) * 1024 for name, line in _LINES.items()}


def loading_in_own_process(stage: str, source: ModelSource) -> dict[str, Any]:
    """Return :func:`loading` of a fresh process."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context) as process:
        return process.submit(loading, stage, source).result()


def loading(stage: str, source: ModelSource) -> dict[str, Any]:
    """Load a stage and warm it up, as its replica does.

    The demo model is loaded before, so that libraries are counted as there before. Memory is what
    came on top of that.

    Returns:
        Seconds to load and to warm up, bytes of the weights, and bytes of memory after both, with
        the peak of loading alone.
    """
    spec = STABLE_CASCADE.stage(stage)
    placement = Placement("cpu", "bfloat16")
    spec.model_class().load(open_checkpoint(ModelSource()), placement)
    gc.collect()
    with suppress(OSError):  # without it the peak may be that of the demo model
        Path("/proc/self/clear_refs").write_text(_RESET_PEAK)
    before, begun_s = memory_bytes(), time.perf_counter()
    checkpoint = open_checkpoint(source, spec.components)
    loaded = spec.model_class().load(checkpoint, placement)
    load_s, load_peak = time.perf_counter() - begun_s, memory_bytes()["peak"]
    loaded.warm_up()
    after = memory_bytes()
    return {
        "load_s": load_s,
        "warm_up_s": time.perf_counter() - begun_s - load_s,
        "weights_bytes": weights_bytes(checkpoint, spec),
        "load_peak_bytes": load_peak - before["resident"],
        "bytes": {name: after[name] - before[name] for name in ("private", "mapped")},
        "peak_bytes": after["peak"] - before["resident"],
    }


def weights_bytes(checkpoint: Checkpoint, spec: StageSpec) -> int:
    """Return the size of the weight files that a stage loads."""
    with_weights = (name for name in spec.components if name != "tokenizer")
    files = (path for name in with_weights for path in checkpoint.weight_files(name))
    return sum(path.stat().st_size for path in files)
