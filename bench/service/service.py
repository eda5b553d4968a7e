"""The idle service against the in-process pipeline: latency, Vary details, memory, start.

    python -m bench.service.service

Both make the same pictures with the same number of torch threads, in turns, PNG included; the
service is asked over HTTP from another process than the ones that work.
"""

from __future__ import annotations

import argparse
import socket
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import psutil
import torch

from bench import processes
from bench.processes import resident_mb
from bench.stats import machine, summary, write_result
from cascade_core.checkpoints.checkpoint import open_checkpoint
from cascade_core.checkpoints.weights import Placement
from cascade_core.families.stable_cascade import STABLE_CASCADE
from cascade_core.handoff import ModelRef, StageCLatent
from cascade_core.images.image_files import ImageInfo, encode_image
from cascade_core.pipeline import CascadePipeline
from cascade_core.request import GenerationRequest
from serve.local.cluster import start
from serve.local.running import Running
from serve.settings import Settings, load_settings

TARGET_LATENCY_RATIO, TARGET_VARY_RATIO = 1.15, 0.35


def main() -> None:
    """Start the service, measure, stop it and write the result."""
    repeats, where = _arguments().repeats, machine()
    with tempfile.TemporaryDirectory() as folder:
        settings = load_settings().model_copy(update=_isolated(Path(folder)))
        torch.set_num_threads(settings.torch_threads)
        baseline = _Baseline(settings)
        started_s = time.perf_counter()
        running = start(settings)
        ready_s = time.perf_counter() - started_s
        try:
            result = _measure(running, baseline, repeats)
            memory = _memory_mb(baseline.rss_mb)
        finally:
            running.stop()
    result |= {"machine": where, "time_to_ready_s": ready_s, "memory_mb": memory}
    write_result("service", result, _table(result))


class _Baseline:
    """Stages C, B and A in this process, one after the other."""

    def __init__(self, settings: Settings) -> None:
        before_mb = resident_mb(psutil.Process())
        self.checkpoint = open_checkpoint(settings.model_source())
        device = "cuda" if settings.device != "cpu" and torch.cuda.is_available() else "cpu"
        placement = Placement(device=device, dtype=settings.dtype)
        self.pipeline = CascadePipeline.load(self.checkpoint, placement, STABLE_CASCADE)
        self.rss_mb = resident_mb(psutil.Process())
        self.loaded_mb = self.rss_mb - before_mb

    def request(self, **changes: Any) -> GenerationRequest:
        defaults = self.checkpoint.defaults
        values: dict[str, Any] = {
            "prompt": defaults.suggestions[0] if defaults.suggestions else "a lighthouse",
            "width": defaults.width,
            "height": defaults.height,
            "seed": 1,
            "decoder_seed": 1,
            "steps": defaults.steps,
            "guidance_scale": defaults.guidance_scale,
            "decoder_steps": defaults.decoder_steps,
            "decoder_guidance_scale": defaults.decoder_guidance_scale,
        }
        return GenerationRequest(**(values | changes))

    def generate_s(self, request: GenerationRequest) -> tuple[float, StageCLatent]:
        started_s = time.perf_counter()
        picture = self.pipeline.run(request)
        self._encode(picture.pixels_hwc, request)
        return time.perf_counter() - started_s, picture.latent

    def vary_s(self, latent: StageCLatent, request: GenerationRequest) -> float:
        started_s = time.perf_counter()
        picture = self.pipeline.run(request, latent)
        self._encode(picture.pixels_hwc, request)
        return time.perf_counter() - started_s

    def _encode(self, pixels_hwc: Any, request: GenerationRequest) -> None:
        model = ModelRef(self.checkpoint.id, self.checkpoint.revision, self.checkpoint.fingerprint)
        info = ImageInfo(image_id="bench", latent_id="bench", request=request, model=model)
        encode_image(pixels_hwc, request.format, info)


def _measure(running: Running, baseline: _Baseline, repeats: int) -> dict[str, Any]:
    samples: dict[str, list[float]] = {"in_process": [], "http": [], "http_vary": []}
    samples |= {"in_process_vary": [], "http_stage_c": [], "http_stages": []}
    with httpx.Client(base_url=running.url, timeout=600) as http:
        for seed in range(repeats + 2):
            # Another prompt each time: Stage C keeps the embeddings of texts that come again.
            local = baseline.request(seed=seed, decoder_seed=seed)
            local = replace(local, prompt=f"{local.prompt} {seed}")
            http_s, job = _post_s(http, {"prompt": local.prompt, "seed": seed})
            local_s, latent = baseline.generate_s(local)
            latent_id = job["images"][0]["latent_id"]
            vary_s, varied = _post_s(http, {"kind": "vary_details", "latent_id": latent_id})
            request = GenerationRequest.from_dict(varied["request"])
            local_vary_s = baseline.vary_s(latent, request)
            if seed < 2:
                continue  # warm-up of connections and caches
            samples["http"].append(http_s)
            samples["http_stages"].append(sum(job["cost"].values()))
            samples["in_process"].append(local_s)
            samples["http_vary"].append(vary_s)
            samples["in_process_vary"].append(local_vary_s)
            samples["http_stage_c"].append(varied["cost"]["c_s"])
    figures = {name: summary(values) for name, values in samples.items()}
    return {
        "seconds": figures,
        "http_over_in_process": figures["http"]["median"] / figures["in_process"]["median"],
        "vary_over_generate": figures["http_vary"]["median"] / figures["http"]["median"],
        "in_process_vary_over_generate": figures["in_process_vary"]["median"]
        / figures["in_process"]["median"],
        "vary_stage_c_seconds": figures["http_stage_c"]["max"],
    }


def _post_s(http: httpx.Client, body: dict[str, Any]) -> tuple[float, dict[str, Any]]:
    """Create a job, wait for it and fetch the picture; seconds until the last byte."""
    started_s = time.perf_counter()
    job = http.post("/v1/jobs", json=body, headers={"Prefer": "wait=600"}).json()
    image = http.get(f"/v1/images/{job['images'][0]['id']}")
    seconds = time.perf_counter() - started_s
    image.raise_for_status()
    return seconds, job


def _memory_mb(baseline_mb: float) -> dict[str, float]:
    """Return resident memory per replica, and of the one process that holds all stages."""
    found: dict[str, float] = {"in-process pipeline (this process)": round(baseline_mb)}
    found |= {
        kind: round(resident_mb(process))
        for kind, process in processes.running()
        if kind in processes.REPLICAS
    }
    return found


def _isolated(folder: Path) -> dict[str, Any]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    fresh = Settings(data_dir=folder)
    urls = {name: getattr(fresh, name) for name in ("database_url", "dbos_url", "blob_url")}
    return urls | {"data_dir": folder, "http_port": port, "reuse_latents": False}


def _table(result: dict[str, Any]) -> str:
    seconds = result["seconds"]

    def row(name: str, key: str) -> str:
        values = seconds[key]
        spread = f"{values['p25']:.3f}-{values['p75']:.3f}"
        return f"| {name} | {values['median']:.3f} s | {spread} s | {values['n']:.0f} |"

    lines = [
        "| one picture, idle, model defaults | median | p25-p75 | n |",
        "|---|---|---|---|",
        row("in-process pipeline, prompt to PNG", "in_process"),
        row("service, HTTP request to PNG", "http"),
        row("of which its stages C, B and A compute", "http_stages"),
        row("in-process pipeline, Vary details", "in_process_vary"),
        row("service, Vary details", "http_vary"),
        "",
        "| ratio | measured | target |",
        "|---|---|---|",
        f"| service over in-process | {result['http_over_in_process']:.2f} "
        f"| <= {TARGET_LATENCY_RATIO} |",
        f"| Vary details over a full generation | {result['vary_over_generate']:.2f} "
        f"| <= {TARGET_VARY_RATIO} |",
        f"| the same in process: this model's share of B and A "
        f"| {result['in_process_vary_over_generate']:.2f} | |",
        "",
        f"Time to ready: {result['time_to_ready_s']:.1f} s from an empty machine (Ray included).",
        "",
        "| process | resident MB |",
        "|---|---|",
        *(f"| {name} | {size:.0f} |" for name, size in sorted(result["memory_mb"].items())),
    ]
    return "\n".join(lines)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=15)
    return parser.parse_args()


if __name__ == "__main__":
    main()
