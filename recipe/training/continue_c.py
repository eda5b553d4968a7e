"""Train the shipped Stage C on, with today's captions; every other file of the model stays.

It needs nothing but the shipped model: the renderer draws the scenes of the training set again, and
the shipped encoder compresses them.
"""

from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor
from transformers import CLIPTextModelWithProjection, CLIPTokenizer

from cascade_core.conditioning.latent_encoder import LatentEncoder
from recipe.device import suit_device, tensor_of, to_pixels
from recipe.export import model_folder
from recipe.scale import Scale
from recipe.scenes.captions import OpenShares
from recipe.scenes.data import WORKERS, scene_masks, thumbnail, training_scene
from recipe.scenes.render import render
from recipe.scenes.scene import Scene
from recipe.training.diffusion import CaptionReader
from recipe.training.stage_c import Examples, StageCTeacher, thing_weights
from recipe.training.train import Trainer, load_average
from recipe.training.unets import build_stage_c

PART: Final = "prior_prior"
CHUNK: Final = 200
SHARES: Final = OpenShares(plain=0.8, patterned=0.25)
"""Two captions of five are open: the usual ones are known already, and the run is short."""


def continue_stage_c(scale: Scale) -> None:
    """Train Stage C of the model folder on and write it back."""
    torch.manual_seed(0)
    folder = model_folder(scale)
    net = build_stage_c()
    net.load_state_dict(load_file(folder / PART / "diffusion_pytorch_model.safetensors"))
    suit_device(net)
    reader = shipped_reader(folder, "continue stage c", SHARES)
    teacher = StageCTeacher(net, reader, shipped_examples(scale, folder))
    Trainer(net, scale.continue_c, checkpoint_of(scale)).run(
        lambda _step, _fraction: teacher.loss(scale.continue_c.batch)
    )
    load_average(net, checkpoint_of(scale))
    net.half().save_pretrained(folder / PART)


def shipped_reader(folder: Path, seed: str, shares: OpenShares) -> CaptionReader:
    """Return a reader with the text encoder of a model folder, frozen."""
    encoder = CLIPTextModelWithProjection.from_pretrained(
        folder / "text_encoder", dtype=torch.float32
    ).to(torch.get_default_device())
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    return CaptionReader(tokenizer, encoder.requires_grad_(False), seed, shares)


def shipped_examples(scale: Scale, folder: Path) -> list[Examples]:
    """Draw and compress the first scenes of the training set; a second call reads the results."""
    encoder = LatentEncoder.from_pretrained(folder / "latent_encoder", torch_dtype=torch.float32)
    encoder.to(torch.get_default_device())
    examples = []
    for (width, height), scenes in by_canvas(scale).items():
        path = scale.work_dir / "continue_c" / f"{width}x{height}.npz"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            latents, masks = compress_scenes(scenes, encoder)
            np.savez(path, latents=latents, masks=masks)
        arrays = np.load(path)
        weights = thing_weights(tensor_of(arrays["masks"]))
        examples.append(Examples(scenes, tensor_of(arrays["latents"]).float(), weights))
    return examples


def by_canvas(scale: Scale) -> dict[tuple[int, int], list[Scene]]:
    """Return the scenes of the continued training by (width, height), the square ones first."""
    found: dict[tuple[int, int], list[Scene]] = {}
    for number in range(scale.continue_c_scenes):
        scene = training_scene(scale, number)
        found.setdefault((scene.width_px, scene.height_px), []).append(scene)
    return found


@torch.no_grad()
def compress_scenes(
    scenes: list[Scene], encoder: LatentEncoder
) -> tuple[NDArray[np.float16], NDArray[np.uint8]]:
    """Return Stage C latents (n, 16, h, w) and coverage masks (n, 2, 32h/3, 32w/3) of scenes."""
    latents: list[Tensor] = []
    masks = []
    with ProcessPoolExecutor(WORKERS) as pool:
        for start in range(0, len(scenes), CHUNK):
            drawn = list(pool.map(_draw, scenes[start : start + CHUNK], chunksize=10))
            latents.append(encoder(to_pixels(np.stack([small for small, _ in drawn]))).cpu())
            masks.append(np.stack([mask for _, mask in drawn]))
            print(f"{start + len(drawn)} of {len(scenes)} scenes", flush=True)
    return torch.cat(latents).half().numpy(), np.concatenate(masks)


def _draw(scene: Scene) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    return thumbnail(render(scene)), scene_masks(scene)


def checkpoint_of(scale: Scale) -> Path:
    """Where the training keeps its state."""
    return scale.work_dir / "stage_c_continued.pt"
