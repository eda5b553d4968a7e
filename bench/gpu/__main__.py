"""Stable Cascade at its published sizes on one GPU: our stages against diffusers' pipelines.

    python -m bench.gpu                                            # all of it
    python -m bench.gpu --parts ceilings pictures rows --variants stock ours
    python -m bench.gpu --parts saturation
    python -m bench.gpu --parts mixed
    python -m bench.gpu --parts pictures --variants stock stock-compiled --compile prior
    python -m bench.gpu --parts pictures --variants stock ours ours-graphs ours-compiled-graphs
    python -m bench.gpu --device cpu --scale tiny                  # a dry run

It needs torch, diffusers, transformers, pillow and msgpack, and no files of a model: weights are
random, made on the GPU. Each figure is saved when it is there, so a run may be stopped, and a
later run on the same card adds to it. A dry run saves nothing unless a folder is named.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from bench.gpu.parts import PARTS, Bench
from bench.gpu.results import Results
from bench.gpu.table import table
from bench.gpu.variants import PLAIN, UNETS, VARIANTS
from bench.published import SCALES
from bench.stats import RESULTS_DIR


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the parts that are asked for, save them and print all tables."""
    given = _arguments(arguments)
    device = torch.device(given.device)
    is_dry_run = device.type == "cpu"
    dtype = torch.float32 if is_dry_run else torch.bfloat16
    folder = given.folder or (None if is_dry_run else RESULTS_DIR)
    # Those that compile take minutes on a CPU, and say nothing there; it records nothing.
    names = given.variants or (PLAIN if is_dry_run else VARIANTS)
    results = Results(given.scale, dtype, folder)
    bench = Bench(device, dtype, given.scale, results, list(names), given.compile)
    for part in given.parts:
        bench.run(part)
    print(table(results.all))


def _arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--scale", choices=SCALES, default="full", help="the model's size")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument(
        "--variants",
        nargs="+",
        choices=VARIANTS,
        help="whose pictures to time one by one; default: all, on a CPU the plain ones",
    )
    parser.add_argument(
        "--compile",
        nargs="+",
        choices=UNETS,
        default=UNETS,
        help="U-Nets to compile or record, compiling takes minutes each; default: both",
    )
    parser.add_argument("--folder", type=Path, help="where gpu.json and gpu.md are kept")
    given = parser.parse_args(arguments)
    if given.device == "cuda" and not torch.cuda.is_available():
        parser.error("torch sees no GPU; for a dry run: --device cpu --scale tiny")
    return given


if __name__ == "__main__":
    main()
