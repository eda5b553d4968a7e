"""The data set: rendered scenes in chunk files, made by worker processes, resumable."""

import random
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from recipe.scale import Scale
from recipe.scenes.render import coverage, render
from recipe.scenes.scene import Scene, sample_scene

CANVASES_PX: Final = (*((256, 256),) * 8, (384, 256), (256, 384))
"""Canvas (width, height) of each chunk in turn: mostly square, some wide, some tall."""
WORKERS: Final = 2


def canvas_of(chunk: int) -> tuple[int, int]:
    """Return the (width, height) in pixels of a chunk's pictures."""
    return CANVASES_PX[chunk % len(CANVASES_PX)]


def training_scene(scale: Scale, index: int) -> Scene:
    """Return the scene with this number; the data set is fixed by the numbers alone."""
    canvas = canvas_of(index // scale.chunk)
    return sample_scene(random.Random(f"training {index}"), size_px=canvas)


def make_chunk(scale: Scale, chunk: int) -> None:
    """Render one chunk: pictures, thumbnails and per-thing coverage masks, all uint8.

    A thumbnail shows its scene with other grain and other pattern phases than the picture. So the
    Stage C latent of the thumbnail cannot hold those details, and Stage B has to make them.
    """
    done = _folder(scale) / f"masks-{chunk:03d}.npy"
    if done.exists():
        return
    numbers = range(chunk * scale.chunk, min((chunk + 1) * scale.chunk, scale.scenes))
    scenes = [training_scene(scale, number) for number in numbers]
    others = [replace(scene, grain_seed=scene.grain_seed + 1) for scene in scenes]
    kinds = {
        "pictures": [render(scene) for scene in scenes],
        "thumbnails": [thumbnail(render(scene)) for scene in others],
        "masks": [scene_masks(scene) for scene in scenes],
    }
    for kind, arrays in kinds.items():
        np.save(_folder(scale) / f"{kind}-{chunk:03d}.npy", np.stack(arrays))


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
    _folder(scale).mkdir(parents=True, exist_ok=True)
    chunks = range(-(-scale.scenes // scale.chunk))
    with ProcessPoolExecutor(WORKERS) as pool:
        for chunk, _ in enumerate(pool.map(partial(make_chunk, scale), chunks)):
            print(f"chunk {chunk + 1} of {len(chunks)}", flush=True)


@dataclass(frozen=True)
class Group:
    """All training scenes of one canvas size."""

    scale: Scale
    chunks: tuple[int, ...]

    @cached_property
    def scenes(self) -> list[Scene]:
        """The scenes, in the order of the arrays' rows."""
        size, end = self.scale.chunk, self.scale.scenes
        return [
            training_scene(self.scale, number)
            for chunk in self.chunks
            for number in range(chunk * size, min((chunk + 1) * size, end))
        ]

    def array(self, kind: str) -> NDArray[Any]:
        """Read `pictures`, `thumbnails`, `masks`, `latents` or `compressed` as one array."""
        paths = [_folder(self.scale) / f"{kind}-{chunk:03d}.npy" for chunk in self.chunks]
        return np.concatenate([np.load(path) for path in paths])


def load_groups(scale: Scale) -> list[Group]:
    """Return the data set, the square canvas first."""
    chunks = range(-(-scale.scenes // scale.chunk))
    canvases = dict.fromkeys(canvas_of(chunk) for chunk in chunks)
    return [
        Group(scale, tuple(chunk for chunk in chunks if canvas_of(chunk) == canvas))
        for canvas in canvases
    ]


class GroupPicker:
    """Picks training batches: a group by its size, then rows that are not kept for validation."""

    def __init__(self, sizes: list[int], kept_back: int, seed: int) -> None:
        """Keep the first `kept_back` scenes of each group of these sizes, at most a quarter."""
        self.sizes = sizes
        self.kept_back = [min(kept_back, size // 4) for size in self.sizes]
        self.rng = np.random.default_rng(seed)

    def __call__(self, count: int) -> tuple[int, NDArray[np.int64]]:
        """Return the number of a group and `count` rows of it."""
        group = int(self.rng.choice(len(self.sizes), p=np.array(self.sizes) / sum(self.sizes)))
        return group, self.rng.integers(self.kept_back[group], self.sizes[group], count)


def load_chunks(scale: Scale, kind: str) -> list[NDArray[np.uint8]]:
    """Map all chunks of a kind into memory, in order."""
    return [np.load(path, mmap_mode="r") for path in sorted(_folder(scale).glob(f"{kind}-*.npy"))]


def _folder(scale: Scale) -> Path:
    return scale.work_dir / "data"
