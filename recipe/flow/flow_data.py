"""The flow model's training set: square scenes as Stage A latents, encoded once."""

from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import count, islice, takewhile
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from diffusers.pipelines.deprecated.wuerstchen.modeling_paella_vq_model import PaellaVQModel
from numpy.typing import NDArray

from recipe.device import to_pixels
from recipe.scale import MODEL_DIR, Scale
from recipe.scenes.data import WORKERS, scene_masks, training_scene
from recipe.scenes.render import render
from recipe.scenes.scene import Scene

CHUNK: Final = 250
SIDE_PX: Final = 256


def square_scenes(scale: Scale) -> list[Scene]:
    """Return the first square scenes of the training set."""
    scenes = (training_scene(scale, number) for number in count())
    squares = (scene for scene in scenes if scene.width_px == scene.height_px == SIDE_PX)
    return list(islice(squares, scale.flow_scenes))


def make_flow_data(scale: Scale) -> None:
    """Draw and encode every missing chunk with the shipped Stage A."""
    _folder(scale).mkdir(parents=True, exist_ok=True)
    chunks = range(_chunks(scale))
    with ProcessPoolExecutor(WORKERS) as pool:
        for chunk, _ in enumerate(pool.map(partial(_make_chunk, scale), chunks)):
            print(f"chunk {chunk + 1} of {len(chunks)}", flush=True)


def load_flow_data(scale: Scale) -> tuple[list[Scene], NDArray[np.float16], NDArray[np.uint8]]:
    """Return scenes, latents (n, 4, 64, 64) of about unit variance and masks (n, 2, 64, 64).

    Where chunks are missing still, these are the scenes up to the first missing one.
    """
    paths = (_folder(scale) / f"{chunk:03d}.npz" for chunk in range(_chunks(scale)))
    chunks = [np.load(path) for path in takewhile(Path.exists, paths)]
    latents = np.concatenate([chunk["latents"] for chunk in chunks])
    masks = np.concatenate([chunk["masks"] for chunk in chunks])
    return square_scenes(scale)[: len(latents)], latents, masks


@torch.no_grad()
def _make_chunk(scale: Scale, chunk: int) -> None:
    path = _folder(scale) / f"{chunk:03d}.npz"
    if path.exists():
        return
    torch.set_num_threads(1)
    stage_a = load_shipped_stage_a()
    scenes = square_scenes(scale)[chunk * CHUNK : (chunk + 1) * CHUNK]
    latents = np.empty((len(scenes), 4, SIDE_PX // 4, SIDE_PX // 4), np.float16)
    # One at a time and channels last: several times faster on a CPU than batches.
    for row, scene in enumerate(scenes):
        pixels = to_pixels(render(scene)[None]).contiguous(memory_format=torch.channels_last)
        encoded = stage_a.encode(pixels).latents[0] / stage_a.config.scale_factor
        latents[row] = encoded.numpy()
    partial_path = path.with_suffix(".partial.npz")
    np.savez(partial_path, latents=latents, masks=np.stack([scene_masks(s) for s in scenes]))
    partial_path.replace(path)


def load_shipped_stage_a() -> Any:
    """Return the Stage A of the shipped cascade, frozen."""
    stage_a = PaellaVQModel.from_pretrained(MODEL_DIR / "vqgan", dtype=torch.float32)
    return stage_a.to(memory_format=torch.channels_last).eval().requires_grad_(False)


def _chunks(scale: Scale) -> int:
    return -(-scale.flow_scenes // CHUNK)


def _folder(scale: Scale) -> Path:
    return scale.work_dir / "flow"
