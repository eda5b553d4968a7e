"""The published sizes on a CPU: loading, memory by stage, time to ready and one picture.

    python -m bench.real_size                       # lite and full, each needs minutes
    python -m bench.real_size --sizes lite
    python -m bench.real_size --sizes tiny          # a dry run, which saves nothing

It writes a model of the published layout and sizes, with random weights in bfloat16, into a
temporary folder (`TMPDIR`). Each stage is loaded in a process of its own; then the service runs on
the model and makes one picture. The weights of `full` alone take 12 GB of disk and of memory.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import httpx

from bench import processes
from bench.ports import free_port
from bench.published import SCALES
from bench.real_size.checkpoint import write_checkpoint
from bench.real_size.loading import loading_in_own_process, memory_bytes
from bench.real_size.table import table
from bench.service.chaos import scratch_settings
from bench.stats import machine, write_result
from cascade_core.checkpoints.checkpoint import ModelSource
from cascade_core.families.stable_cascade import STABLE_CASCADE
from serve.local.cluster import start

PICTURES: Final[dict[str, dict[str, Any]]] = {
    # At 1024 px a CPU without instructions for bfloat16 would take more than half an hour.
    "lite": {"width": 512, "height": 512, "steps": 2, "decoder_steps": 1},
    # Without guidance, which would double Stage C's work.
    "full": {"width": 256, "height": 256, "steps": 3, "decoder_steps": 2, "guidance_scale": 1.0},
    "tiny": {"width": 256, "height": 256, "steps": 1, "decoder_steps": 1},
}
DEADLINE_S: Final = 3600.0
_WAIT_S: Final = 60


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure each size, write the result and print its table."""
    given, where = _arguments(arguments), machine()
    sizes = {}
    for size in given.sizes:
        with tempfile.TemporaryDirectory() as folder:
            sizes[size] = _measure(size, Path(folder), has_service=not given.no_service)
    result = {"machine": where, "sizes": sizes}
    if "tiny" in sizes or given.no_service:
        print(table(result))
    else:
        write_result("real_size", result, table(result))


def _measure(size: str, folder: Path, *, has_service: bool) -> dict[str, Any]:
    begun_s = time.perf_counter()
    source = write_checkpoint(size, folder / "model")
    found: dict[str, Any] = {"write_s": time.perf_counter() - begun_s, "picture": PICTURES[size]}
    found["loading"] = {name: loading_in_own_process(name, source) for name in STABLE_CASCADE.names}
    if has_service:
        found["service"] = _serve(source, PICTURES[size], folder / "data")
    return found


def _serve(source: ModelSource, picture: dict[str, Any], data_dir: Path) -> dict[str, Any]:
    """Run the service on a model; returns its seconds until ready and of a picture, and memory."""
    model = {
        "model": source.model,
        "prior_model": source.prior_model,
        "model_variant": source.variant,
        "stage_c_size": source.prior_size,
        "stage_b_size": source.decoder_size,
        "device": "cpu",
        "dtype": "bfloat16",
        "min_deadline_s": DEADLINE_S,
    }
    settings = scratch_settings(data_dir, port=free_port()).model_copy(update=model)
    begun_s = time.perf_counter()
    running = start(settings)
    ready_s = time.perf_counter() - begun_s
    try:
        ready = _memory()
        with httpx.Client(base_url=running.url, timeout=2 * _WAIT_S) as http:
            job = _drawn(http, picture)
        return {"ready_s": ready_s, "at_ready": ready, "after": _memory(), "cost_s": job["cost"]}
    finally:
        running.stop()


def _drawn(http: httpx.Client, picture: dict[str, Any]) -> dict[str, Any]:
    body = {"prompt": "a lighthouse at dawn", "seed": 1} | picture
    job = http.post("/v1/jobs", json=body, headers={"Prefer": f"wait={_WAIT_S}"}).json()
    until_s = time.monotonic() + DEADLINE_S
    while job["state"] in ("queued", "running"):
        if time.monotonic() > until_s:
            raise TimeoutError(f"the picture is not ready after {DEADLINE_S:g} s")
        time.sleep(1.0)
        job = http.get(f"/v1/jobs/{job['id']}").raise_for_status().json()
    if job["state"] != "succeeded":
        raise RuntimeError(f"the picture failed: {job['error']}")
    return dict(job)


def _memory() -> dict[str, dict[str, int]]:
    stages = {spec.deployment for spec in STABLE_CASCADE.stages}
    return {kind: memory_bytes(one.pid) for kind, one in processes.running() if kind in stages}


def _arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", nargs="+", choices=SCALES, default=["lite", "full"])
    parser.add_argument(
        "--no-service", action="store_true", help="load the stages alone, and save nothing"
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
