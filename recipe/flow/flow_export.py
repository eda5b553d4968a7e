"""Writes the trained flow model as a folder that the service opens beside the demo model's."""

import json
import shutil
from pathlib import Path
from typing import Any, Final

import diffusers
from safetensors.torch import save_file

from recipe.export import SUGGESTIONS
from recipe.flow.flow_card import flow_card, keep_flow_run
from recipe.flow.flow_net import CONFIG
from recipe.flow.flow_training import GUIDANCE, SHIFT, STEPS, load_flow
from recipe.scale import FLOW_DIR, Scale

NAME: Final = "flow-demo"
WEAKNESSES: Final = [
    "outlines are often frayed, and of one thing every third shape is wrong",
    "of two things colours and shapes pass from one to the other, or get lost",
    "no canvas but 256x256 pixels",
]
VARY: Final = {"subtle": 0.5, "strong": 0.9}
MAX_ROWS_CPU: Final = {"d": 4, "a": 1}
CLASSES: Final = {
    "denoiser": ("diffusers", "StableCascadeUNet"),
    "scheduler": ("diffusers", "FlowMatchEulerDiscreteScheduler"),
    "text_encoder": ("transformers", "CLIPTextModelWithProjection"),
    "tokenizer": ("transformers", "CLIPTokenizer"),
    "vqgan": ("wuerstchen", "PaellaVQModel"),
}


def export_flow(scale: Scale) -> None:
    """Write the model folder: to the package for the full scale, else to the work folder."""
    folder = flow_folder(scale)
    fresh = folder.with_name(folder.name + ".partial")
    shutil.rmtree(fresh, ignore_errors=True)
    (fresh / "denoiser").mkdir(parents=True)
    weights = {
        name: weight.detach().half().contiguous()
        for name, weight in load_flow(scale).net.places().items()
    }
    save_file(weights, fresh / "denoiser" / "diffusion_pytorch_model.safetensors")
    version = {"_diffusers_version": diffusers.__version__}
    _write_json(fresh / "denoiser" / "config.json", CONFIG | version)
    scheduler = {
        "_class_name": CLASSES["scheduler"][1],
        **version,
        "num_train_timesteps": 1000,
        "shift": SHIFT,
    }
    (fresh / "scheduler").mkdir()
    _write_json(fresh / "scheduler" / "scheduler_config.json", scheduler)
    _write_json(
        fresh / "model_index.json", {"_class_name": "CascadeFlowPipeline", **version, **CLASSES}
    )
    _write_json(fresh / "cascade.json", serving_defaults(scale))
    shutil.rmtree(folder, ignore_errors=True)
    fresh.replace(folder)
    write_flow_card(scale)


def write_flow_card(scale: Scale) -> None:
    """Write the model card; once more after the evaluation, to hold its figures."""
    keep_flow_run(scale)
    (flow_folder(scale) / "README.md").write_text(flow_card(scale))


def flow_folder(scale: Scale) -> Path:
    """Return where the exported model goes: into the package for the full scale."""
    return FLOW_DIR if scale.name == "full" else scale.work_dir / "flow_model"


def serving_defaults(scale: Scale) -> dict[str, Any]:
    """Return what `cascade.json` says of the model."""
    return {
        "name": NAME,
        "licence": "Apache-2.0",
        "components_of": "demo",
        "trained_on": f"{scale.flow_scenes:,} scenes of coloured shapes, which our own renderer "
        "drew; it started from the weights of the demo model's Stage B",
        "weaknesses": WEAKNESSES,
        "width": 256,
        "height": 256,
        "max_side": 256,
        "steps": STEPS,
        "guidance_scale": GUIDANCE,
        "vary": VARY,
        "max_rows": {"cpu": MAX_ROWS_CPU},
        "suggestions": SUGGESTIONS,
    }


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")
