"""The data set: rendered scenes in chunk files, made by worker processes, resumable."""

import random
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from recipe.render import coverage, render
from recipe.scale import Scale
from recipe.scene import Scene, sample_scene

CHUNK: Final = 1000
THUMBNAIL_PX: Final = 96
"""Side of what the compressor sees: 16 times its 6x6 latent."""
MASK_PX: Final = 64
"""Side of the coverage masks: that of Stage B's latent."""
WORKERS: Final = 2


def training_scene(index: int) -> Scene:
    """Return the scene with this number; the data set is fixed by the numbers alone."""
    return sample_scene(random.Random(f"training {index}"))


def make_chunk(folder: Path, scenes: int, chunk: int) -> None:
    """Render one chunk: pictures, thumbnails and per-thing coverage masks, all uint8."""
    done = folder / f"masks-{chunk:03d}.npy"
    if done.exists():
        return
    numbers = range(chunk * CHUNK, min((chunk + 1) * CHUNK, scenes))
    pictures = np.empty((len(numbers), 256, 256, 3), np.uint8)
    thumbnails = np.empty((len(numbers), THUMBNAIL_PX, THUMBNAIL_PX, 3), np.uint8)
    masks = np.zeros((len(numbers), 2, MASK_PX, MASK_PX), np.uint8)
    for row, number in enumerate(numbers):
        scene = training_scene(number)
        pictures[row] = render(scene)
        thumbnails[row] = thumbnail(pictures[row])
        masks[row] = scene_masks(scene)
    np.save(folder / f"pictures-{chunk:03d}.npy", pictures)
    np.save(folder / f"thumbnails-{chunk:03d}.npy", thumbnails)
    np.save(done, masks)


def thumbnail(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Shrink a picture by 3/8, which turns its 42.67-pixel latent cells into 16-pixel ones."""
    height, width = (side * 3 // 8 for side in picture.shape[:2])
    small = Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(small)


def scene_masks(scene: Scene) -> NDArray[np.uint8]:
    """Coverage of the first and second thing, uint8 (2, h/4, w/4)."""
    size_px = (scene.width_px, scene.height_px)
    masks = np.zeros((2, size_px[1] // 4, size_px[0] // 4), np.uint8)
    for slot, thing in enumerate(scene.things):
        masks[slot] = (coverage(thing, size_px, 0.25) * 255 + 0.5).astype(np.uint8)
    return masks


def make_data(scale: Scale) -> None:
    """Render every missing chunk."""
    folder = scale.work_dir / "data"
    folder.mkdir(parents=True, exist_ok=True)
    chunks = range(-(-scale.scenes // CHUNK))
    with ProcessPoolExecutor(WORKERS) as pool:
        for chunk, _ in enumerate(pool.map(partial(make_chunk, folder, scale.scenes), chunks)):
            print(f"chunk {chunk + 1} of {len(chunks)}", flush=True)


def load_chunks(scale: Scale, kind: str) -> list[NDArray[np.uint8]]:
    """Map all chunks of `pictures`, `thumbnails` or `masks` into memory."""
    paths = sorted((scale.work_dir / "data").glob(f"{kind}-*.npy"))
    return [np.load(path, mmap_mode="r") for path in paths]


def load_whole(scale: Scale, kind: str) -> NDArray[np.uint8]:
    """Read all chunks of a kind as one array; for the small kinds."""
    return np.concatenate(load_chunks(scale, kind))
