"""Write the trained parts as a diffusers folder that stock pipelines load."""

import json
import shutil
from pathlib import Path
from typing import Any, Final

import diffusers
import numpy as np
import torch
from diffusers import DDPMWuerstchenScheduler
from safetensors.torch import save_file
from torch.nn import functional

from recipe.compressor import LATENT_CHANNELS, load_compressor, to_pixels
from recipe.data import load_whole
from recipe.model_card import model_card
from recipe.scale import MODEL_DIR, Scale
from recipe.stage_a import load_stage_a
from recipe.stage_b import load_stage_b
from recipe.stage_c import load_stage_c
from recipe.text_encoder import load_text_encoder, load_tokenizer

PREVIEW_SCENES: Final = 4000
SUGGESTIONS: Final = (
    "a large red heart in the center on a white background",
    "a large cyan ring in the center on a red background",
    "a large yellow triangle at the bottom on a blue background",
    "a big pink circle in the middle on a purple background",
    "a purple ring on the left and a yellow circle on the right on a black background",
    "a red circle above a white square on a blue background",
    "a large green square in the center on a pink background",
    "an orange circle in the bottom left on a cyan background",
    "a blue ring in the top right on a yellow background",
    "a large black square on the left on an orange background",
)
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
    folder = _model_folder(scale, target)
    fresh = folder.with_name(folder.name + ".partial")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    _save_parts(scale, fresh)
    _write_json(fresh / "model_index.json", _model_index())
    _write_json(fresh / "cascade.json", _serving_defaults())
    _write_json(fresh / "preview.json", {"stage_c_to_rgb": preview_map(scale)})
    shutil.rmtree(folder, ignore_errors=True)
    fresh.replace(folder)
    write_card(scale, folder)
    save_compressor(scale)


def save_compressor(scale: Scale) -> None:
    """Keep the compressor's weights, which no pipeline needs, beside the evaluation."""
    scale.results_dir.mkdir(parents=True, exist_ok=True)
    weights = {k: v.half().contiguous() for k, v in load_compressor(scale).state_dict().items()}
    save_file(weights, scale.results_dir / "compressor.safetensors")


def write_card(scale: Scale, target: Path | None = None) -> None:
    """Write the model card; once more after the evaluation, to hold its figures."""
    (_model_folder(scale, target) / "README.md").write_text(model_card(scale))


def _model_folder(scale: Scale, target: Path | None) -> Path:
    return target or (MODEL_DIR if scale.name == "full" else scale.work_dir / "model")


def _save_parts(scale: Scale, folder: Path) -> None:
    parts: dict[str, Any] = {
        "prior_prior": load_stage_c(scale),
        "decoder": load_stage_b(scale),
        "vqgan": load_stage_a(scale),
        "text_encoder": load_text_encoder(scale),
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


def _serving_defaults() -> dict[str, Any]:
    return {
        "name": "cascade-demo",
        "licence": "Apache-2.0",
        "width": 256,
        "height": 256,
        "max_side": 512,
        "steps": 20,
        "guidance_scale": 2.0,
        "decoder_steps": 10,
        "decoder_guidance_scale": 0.0,
        "suggestions": SUGGESTIONS,
    }


def preview_map(scale: Scale) -> dict[str, list[Any]]:
    """Fit the linear map from a Stage C cell to the mean colour of its part of the picture.

    Returns:
        `weight` 3x16 and `bias` 3 for RGB in [0, 1].
    """
    latents = np.load(scale.work_dir / "compressed.npy").astype(np.float64)
    thumbnails = load_whole(scale, "thumbnails")[:PREVIEW_SCENES]
    colours = functional.adaptive_avg_pool2d(to_pixels(thumbnails), 6).double().numpy()
    cells = latents[: len(thumbnails)].transpose(0, 2, 3, 1).reshape(-1, LATENT_CHANNELS)
    inputs = np.concatenate([cells, np.ones((len(cells), 1))], 1)
    fitted = np.linalg.lstsq(inputs, colours.transpose(0, 2, 3, 1).reshape(-1, 3), rcond=None)[0]
    return {"weight": fitted[:-1].T.round(5).tolist(), "bias": fitted[-1].round(5).tolist()}


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")


def weights_bytes(folder: Path) -> int:
    """Total size of all weight files in a model folder."""
    return sum(path.stat().st_size for path in folder.rglob("*.safetensors"))


def load_pipeline(folder: Path) -> Any:
    """Load an exported folder as the stock StableCascadeCombinedPipeline in float32."""
    import diffusers.pipelines
    import diffusers.pipelines.deprecated.wuerstchen as wuerstchen
    from transformers import CLIPTextModelWithProjection, CLIPTokenizer

    # diffusers moved this library; published indexes still name it (diffusers issue 14008).
    diffusers.pipelines.wuerstchen = wuerstchen
    text_encoder = CLIPTextModelWithProjection.from_pretrained(
        folder / "text_encoder", dtype=torch.float32
    )
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    pipeline = diffusers.StableCascadeCombinedPipeline.from_pretrained(
        folder,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        prior_text_encoder=text_encoder,
        prior_tokenizer=tokenizer,
        torch_dtype=torch.float32,
    )
    pipeline.set_progress_bar_config(disable=True)
    pipeline.prior_pipe.set_progress_bar_config(disable=True)
    pipeline.decoder_pipe.set_progress_bar_config(disable=True)
    return pipeline
