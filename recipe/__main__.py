"""Run one step of the recipe, or all of them: `python -m recipe all --scale smoke`."""

import argparse
import time
from collections.abc import Callable

import torch

from recipe.evaluation.evaluate import evaluate
from recipe.export import export_model, write_card
from recipe.flow.flow_data import make_flow_data
from recipe.flow.flow_evaluation import evaluate_flow
from recipe.flow.flow_export import export_flow, write_flow_card
from recipe.flow.flow_training import train_flow
from recipe.scale import SCALES, Scale
from recipe.scenes.data import make_data
from recipe.training.compressor import train_compressor
from recipe.training.continue_c import continue_stage_c
from recipe.training.joint import compress_all, train_joint
from recipe.training.peers import join_peers
from recipe.training.stage_a import encode_latents, train_stage_a
from recipe.training.stage_b import train_stage_b
from recipe.training.stage_c import train_stage_c
from recipe.training.text_encoder import train_text_encoder

STEPS: dict[str, Callable[[Scale], None]] = {
    "data": make_data,
    "text": train_text_encoder,
    "stage-a": train_stage_a,
    "latents": encode_latents,
    "compressor": train_compressor,
    "joint": train_joint,
    "compress": compress_all,
    "stage-b": train_stage_b,
    "stage-c": train_stage_c,
    "export": export_model,
    "evaluate": evaluate,
    "card": write_card,
}

APART: dict[str, Callable[[Scale], None]] = {
    "continue-c": continue_stage_c,
    "flow-data": make_flow_data,
    "flow": train_flow,
    "flow-export": export_flow,
    "flow-evaluate": evaluate_flow,
    "flow-card": write_flow_card,
}
"""Steps that start from the shipped model: a run from nothing has no use for them."""


ON_CPU = (
    *("data", "export", "evaluate", "card"),
    *("flow-data", "flow-export", "flow-evaluate", "flow-card"),
)
"""Steps that gain nothing from a GPU, or measure what a CPU gives."""


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m recipe", description=__doc__)
    parser.add_argument("step", choices=[*STEPS, *APART, "all"])
    parser.add_argument("--scale", choices=SCALES, default="full")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="for training")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    join_peers()
    scale = SCALES[arguments.scale]
    names = list(STEPS) if arguments.step == "all" else [arguments.step]
    for number, name in enumerate(names, 1):
        print(f"{name}: step {number} of {len(names)}", flush=True)
        started_s = time.monotonic()
        with torch.device("cpu" if name in ON_CPU else arguments.device):
            (STEPS | APART)[name](scale)
        print(f"{name}: done in {time.monotonic() - started_s:.0f} s", flush=True)


if __name__ == "__main__":
    main()
