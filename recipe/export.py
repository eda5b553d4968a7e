"""Write the trained parts as a diffusers folder that stock pipelines load."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import diffusers
import torch
from diffusers import DDPMWuerstchenScheduler
from numpy.typing import NDArray

from cascade_core.families.stable_cascade import STAGE_A, STAGE_B, STAGE_C
from cascade_core.stages.previews import fit_linear
from recipe.device import to_pixels
from recipe.model_card import keep_training_runs, model_card
from recipe.scale import MODEL_DIR, Scale
from recipe.scenes.data import load_groups
from recipe.training.joint import load_compressor
from recipe.training.stage_a import load_stage_a
from recipe.training.stage_b import load_stage_b
from recipe.training.stage_c import load_stage_c
from recipe.training.text_encoder import load_text_encoder, load_tokenizer

STAGE_C_PREVIEW_SCENES: Final = 4000
STAGE_B_PREVIEW_SCENES: Final = 200
SUGGESTIONS: Final = (
    "a large red heart in the center on a white background",
    "a large checkered orange square in the center on a black background",
    "a large striped yellow circle in the middle on a purple background",
    "a large cyan ring in the center on a red background",
    "a purple ring on the left and a yellow circle on the right on a black background",
    "a large striped pink star on the right on a cyan background",
    "a red circle above a checkered white square on a blue background",
    "a large yellow triangle at the bottom on a blue background",
    "a large dotted green square in the top left on a pink background",
    "a blue ring in the top right on a yellow background",
)
WEAKNESSES: Final = (
    "Anything outside its vocabulary of shapes, colours, textures, sizes and places.",
    "More than two things, other relations between things, lettering, photographs.",
    "Other canvases than 256x256, 384x256 and 256x384 pixels.",
    "Prompts of few words: about every fifth picture has a wrong shape.",
    "Patterns, above all on small things and rings.",
)
"""As the model card says at more length."""
MAX_ROWS_CPU: Final = {STAGE_C.name: 4, STAGE_B.name: 4, STAGE_A.name: 1}
"""Images per step; with one more, the time per image would fall by less than 5%."""
CLASSES: Final = {
    "decoder": ("diffusers", "StableCascadeUNet"),
    "prior_feature_extractor": (None, None),
    "prior_image_encoder": (None, None),
    "prior_prior": ("diffusers", "StableCascadeUNet"),
    "prior_scheduler": ("diffusers", "DDPMWuerstchenScheduler"),
    "prior_text_encoder": ("transformers", "CLIPTextModelWithProjection"),
    "prior_tokenizer": ("transformers", "CLIPTokenizer"),
    "scheduler": ("diffusers", "DDPMWuerstchenScheduler"),
    "text_encoder": ("transformers", "CLIPTextModelWithProjection"),
    "tokenizer": ("transformers", "CLIPTokenizer"),
    # The library name that published Stable Cascade repositories use.
    "vqgan": ("wuerstchen", "PaellaVQModel"),
}


def export_model(scale: Scale, target: Path | None = None) -> None:
    """Write the model folder: to the package for the full scale, else to the work folder."""
    folder = model_folder(scale, target)
    fresh = folder.with_name(folder.name + ".partial")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    _save_parts(scale, fresh)
    _write_json(fresh / "model_index.json", _model_index())
    _write_json(fresh / "cascade.json", serving_defaults(scale))
    _write_json(fresh / "preview.json", preview_maps(scale))
    shutil.rmtree(folder, ignore_errors=True)
    fresh.replace(folder)
    write_card(scale, folder)


def write_card(scale: Scale, target: Path | None = None) -> None:
    """Write the model card; once more after the evaluation, to hold its figures."""
    keep_training_runs(scale)
    (model_folder(scale, target) / "README.md").write_text(model_card(scale))


def model_folder(scale: Scale, target: Path | None = None) -> Path:
    """Return where the exported model goes: into the package for the full scale."""
    return target or (MODEL_DIR if scale.name == "full" else scale.work_dir / "model")


def _save_parts(scale: Scale, folder: Path) -> None:
    parts: dict[str, Any] = {
        "prior_prior": load_stage_c(scale),
        "decoder": load_stage_b(scale),
        "vqgan": load_stage_a(scale),
        "text_encoder": load_text_encoder(scale),
        "latent_encoder": load_compressor(scale),
    }
    for name, part in parts.items():
        part.half().save_pretrained(folder / name)
    load_tokenizer(scale).save_pretrained(folder / "tokenizer")
    for name in ("scheduler", "prior_scheduler"):
        DDPMWuerstchenScheduler().save_pretrained(folder / name)


def _model_index() -> dict[str, Any]:
    return {
        "_class_name": "StableCascadeCombinedPipeline",
        "_diffusers_version": diffusers.__version__,
        **CLASSES,
    }


def serving_defaults(scale: Scale) -> dict[str, Any]:
    """Return what the model says of itself in its ``cascade.json``."""
    return {
        "name": "cascade-demo",
        "licence": "Apache-2.0",
        "trained_on": f"{scale.scenes:,} scenes of one or two shapes, which our own renderer drew; "
        "no other model or data went in",
        "weaknesses": WEAKNESSES,
        "width": 256,
        "height": 256,
        "max_side": 512,
        "steps": 20,
        "guidance_scale": 2.0,
        "decoder_steps": 10,
        "decoder_guidance_scale": 0.0,
        "max_rows": {"cpu": MAX_ROWS_CPU},
        "suggestions": SUGGESTIONS,
    }


def preview_maps(scale: Scale) -> dict[str, dict[str, list[Any]]]:
    """Fit the linear maps from a cell of Stage C's and of Stage B's latent to its mean colour.

    Returns:
        By name, `weight` of 3 rows and `bias` of 3 numbers for RGB in [0, 1].
    """
    square = load_groups(scale)[0]
    first = replace(square, chunks=square.chunks[:1])  # all pictures would fill the memory
    c, b = STAGE_C_PREVIEW_SCENES, STAGE_B_PREVIEW_SCENES
    return {
        "stage_c_to_rgb": _fitted(square.array("compressed")[:c], square.array("thumbnails")[:c]),
        "stage_b_to_rgb": _fitted(first.array("latents")[:b], first.array("pictures")[:b]),
    }


def _fitted(latents: NDArray[Any], pictures: NDArray[Any]) -> dict[str, list[Any]]:
    weight, bias = fit_linear(torch.from_numpy(latents), to_pixels(pictures))
    return {"weight": _rounded(weight), "bias": _rounded(bias)}


def _rounded(values: torch.Tensor) -> list[Any]:
    rounded: list[Any] = values.double().numpy().round(5).tolist()
    return rounded


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")


def weights_bytes(folder: Path) -> int:
    """Total size of all weight files in a model folder."""
    return sum(path.stat().st_size for path in folder.rglob("*.safetensors"))
