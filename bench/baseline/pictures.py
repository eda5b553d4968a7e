"""Makes pictures in one process, of the checkout whose interpreter runs this file.

Answers each line (``generate SEED`` or ``vary SEED``) with the seconds until the PNG was there and
the CPU seconds of the process. Knows the modules of this code and of the commit that it is compared
with.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch

IS_BEFORE = find_spec("cascade_core.checkpoints") is None


def main() -> None:
    """Answer until the input ends."""
    settings = import_module("serve.settings").load_settings()
    torch.set_num_threads(settings.torch_threads)
    maker = Maker(settings)
    for line in sys.stdin:
        kind, seed = line.split()
        request, latent = maker.request(int(seed)), maker.latent if kind == "vary" else None
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        maker.make(request, latent)
        took = {"wall_s": time.perf_counter() - wall_s, "cpu_s": time.process_time() - cpu_s}
        print(json.dumps(took), flush=True)


class Maker:
    """The in-process pipeline of either commit, with its PNG writer."""

    def __init__(self, settings: Any) -> None:
        weights = _module("weights", "checkpoints.weights")
        placement = weights.Placement(device="cpu", dtype=settings.dtype)
        open_checkpoint = _module("checkpoint", "checkpoints.checkpoint").open_checkpoint
        self._checkpoint = open_checkpoint(settings.model_source())
        self._images = _module("images", "images.image_files")
        load = import_module("cascade_core.pipeline").CascadePipeline.load
        self._pipeline = load(self._checkpoint, placement, *_family())
        self.latent = self.make(self.request(0), None)

    def request(self, seed: int) -> Any:
        """Return a request at the model's defaults, with a prompt of its own."""
        defaults = self._checkpoint.defaults
        return import_module("cascade_core.request").GenerationRequest(
            # Another prompt each time: embeddings of texts that come again are kept.
            prompt=f"a red circle {seed}",
            width=defaults.width,
            height=defaults.height,
            seed=seed,
            decoder_seed=seed,
            steps=defaults.steps,
            guidance_scale=defaults.guidance_scale,
            decoder_steps=defaults.decoder_steps,
            decoder_guidance_scale=defaults.decoder_guidance_scale,
        )

    def make(self, request: Any, latent: Any) -> Any:
        """Make a picture and its PNG, from a latent if there is one; returns its latent."""
        pipeline, checkpoint = self._pipeline, self._checkpoint
        if not IS_BEFORE:
            if latent is not None:
                request = replace(request, kind="vary_details", latent_id="bench")
            picture = pipeline.run(request, latent)
        elif latent is None:
            picture = pipeline.generate(request)
        else:
            picture = pipeline.vary(latent, request)
        reference = import_module("cascade_core.handoff").ModelRef
        model = reference(checkpoint.id, checkpoint.revision, checkpoint.fingerprint)
        info = self._images.ImageInfo(
            image_id="bench", latent_id="bench", request=request, model=model
        )
        self._images.encode_image(picture.pixels_hwc, "png", info)
        return picture.latent


def _module(before: str, now: str) -> Any:
    return import_module(f"cascade_core.{before if IS_BEFORE else now}")


def _family() -> list[Any]:
    return (
        [] if IS_BEFORE else [import_module("cascade_core.families.stable_cascade").STABLE_CASCADE]
    )


if __name__ == "__main__":
    main()
