"""The networks of Stages C, B and A against diffusers' modules with the same weights, in turns.

    python -m bench.engine.forward

One step of Stages C and B at several numbers of rows, one picture of Stage A, of the configured
model. Times are those of the thread that computes, so other programs matter little.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from diffusers.models.unets.unet_stable_cascade import StableCascadeUNet
from diffusers.pipelines.deprecated.wuerstchen.modeling_paella_vq_model import PaellaVQModel

from bench.stats import machine, milliseconds, summary, write_result
from cascade_core.checkpoints.checkpoint import Checkpoint, open_checkpoint
from cascade_core.checkpoints.weights import load_unet, load_vqgan_decoder
from serve.settings import load_settings

ROWS = (1, 2, 4, 8, 16)
TOKENS = 77
CPU = torch.device("cpu")

Pass = Callable[[], torch.Tensor]


def main() -> None:
    """Measure all stages and write the result."""
    where, repeats, settings = machine(), _arguments().repeats, load_settings()
    torch.set_num_threads(settings.torch_threads)
    checkpoint = open_checkpoint(settings.model_source())
    with torch.inference_mode():
        rows = {
            **_measure_unet("C", checkpoint, "prior", repeats),
            **_measure_unet("B", checkpoint, "decoder", repeats),
            "A, 1 row": _compare(*_stage_a(checkpoint), repeats),
        }
    write_result(
        "forward", {"machine": where, "model": checkpoint.id, "passes": rows}, _table(rows)
    )


def _measure_unet(
    stage: str, checkpoint: Checkpoint, component: str, repeats: int
) -> dict[str, Any]:
    stock = _stock(StableCascadeUNet, checkpoint, component)
    ours = load_unet(checkpoint, component, CPU, torch.float32)
    hw = checkpoint.geometry.stage_c_hw(checkpoint.defaults.height, checkpoint.defaults.width)
    latent_hw = hw if component == "prior" else checkpoint.geometry.stage_b_hw(hw)
    found = {}
    for count in ROWS:
        conditioning = _conditioning(stock.config, hw, count)
        latents = torch.randn(count, stock.config.in_channels, *latent_hw)
        times = torch.rand(count)
        held = [
            ours.hold(
                latent_hw, **{name: value[row : row + 1] for name, value in conditioning.items()}
            )
            for row in range(count)
        ]
        names = {"pooled": "clip_text_pooled", "text": "clip_text", "image": "clip_img"}
        given = {names.get(name, name): value for name, value in conditioning.items()}
        table = ours.time_table(times)
        found[f"{stage}, {count} row{'s' * (count > 1)}"] = _compare(
            partial(_stock_step, stock, latents, times, given),
            partial(ours, latents, table, held),
            repeats,
        )
    return found


def _stage_a(checkpoint: Checkpoint) -> tuple[Pass, Pass]:
    stock = _stock(PaellaVQModel, checkpoint, "vqgan")
    ours = load_vqgan_decoder(checkpoint, CPU, torch.float32)
    hw = checkpoint.geometry.stage_b_hw(
        checkpoint.geometry.stage_c_hw(checkpoint.defaults.height, checkpoint.defaults.width)
    )
    latents = torch.randn(1, stock.config.latent_channels, *hw)
    scaled = stock.config.scale_factor * latents
    return lambda: stock.decode(scaled).sample, lambda: ours(latents)


def _stock_step(
    unet: Any, latents_bchw: torch.Tensor, times: torch.Tensor, conditioning: dict[str, Any]
) -> torch.Tensor:
    predicted: torch.Tensor = unet(latents_bchw, times, **conditioning).sample
    return predicted


def _stock(module_class: Any, checkpoint: Checkpoint, component: str) -> Any:
    folder = checkpoint.component(component)
    module = module_class.from_pretrained(
        folder, variant=checkpoint.variant or None, low_cpu_mem_usage=False, local_files_only=True
    )
    return module.float().eval().requires_grad_(False)


def _conditioning(config: Any, hw: tuple[int, int], rows: int) -> dict[str, torch.Tensor]:
    conditioning = {"pooled": torch.randn(rows, 1, config.clip_text_pooled_in_channels)}
    if config.clip_text_in_channels is not None:
        conditioning["text"] = torch.randn(rows, TOKENS, config.clip_text_in_channels)
        conditioning["image"] = torch.zeros(rows, 1, config.clip_image_in_channels)
    if config.effnet_in_channels is not None:
        conditioning["effnet"] = torch.randn(rows, config.effnet_in_channels, *hw)
    return conditioning


def _compare(stock: Pass, ours: Pass, repeats: int) -> dict[str, Any]:
    """Time both in turns, and compare their results once."""
    expected = stock()
    error = float((ours() - expected).abs().max() / expected.abs().max())
    samples: dict[str, list[float]] = {"stock": [], "ours": []}
    for _ in range(repeats):
        for name, run in (("stock", stock), ("ours", ours)):
            started_s = time.thread_time()
            run()
            samples[name].append(time.thread_time() - started_s)
    pairs = zip(samples["stock"], samples["ours"], strict=True)
    return {
        "stock_s": summary(samples["stock"]),
        "ours_s": summary(samples["ours"]),
        "speedup": summary([one / other for one, other in pairs]),
        "error": error,
    }


def _table(rows: dict[str, Any]) -> str:
    lines = [
        "| pass | diffusers' module | Cascade Serve | times faster | largest difference |",
        "|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        gain = row["speedup"]
        times = f"{gain['median']:.2f} ({gain['p25']:.2f}-{gain['p75']:.2f})"
        stock, ours = milliseconds(row["stock_s"]), milliseconds(row["ours_s"])
        lines.append(f"| Stage {name} | {stock} | {ours} | {times} | {row['error']:.0e} |")
    note = (
        "Medians (quartiles) of the computing thread's time, float32, one thread; the difference "
        "as a part of the largest value. Not measured: a GPU, half precision, the published sizes."
    )
    return "\n".join([*lines, "", note])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.engine.forward", description=__doc__)
    parser.add_argument("--repeats", type=int, default=30, help="of each pass")
    return parser.parse_args()


if __name__ == "__main__":
    main()
