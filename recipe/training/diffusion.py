"""Noise schedule, times and loss weights that Stage B and Stage C share."""

import math
import random
from typing import Any

import torch
from torch import Tensor

from recipe.scale import Scale
from recipe.scenes.captions import USUAL_SHARES, OpenShares, random_caption
from recipe.scenes.scene import Scene
from recipe.training.text_encoder import MAX_TOKENS, load_text_encoder, load_tokenizer

OFFSET = 0.008
WEIGHT_LIMIT = 80.0
WEIGHT_FLOOR = 0.5
FIRST_STEP_WEIGHT = 3.0


def alpha_bar(times: Tensor) -> Tensor:
    """Share of signal power at times in [0, 1]; as DDPMWuerstchenScheduler computes it."""
    start = math.cos(OFFSET / (1 + OFFSET) * math.pi / 2) ** 2
    angle = (times + OFFSET) / (1 + OFFSET) * math.pi / 2
    return (torch.cos(angle) ** 2 / start).clamp(1e-4, 0.9999)


def add_noise(clean: Tensor, noise: Tensor, times: Tensor) -> Tensor:
    """Mix clean latents (B, C, H, W) with noise at times (B,)."""
    signal = alpha_bar(times)[:, None, None, None]
    return signal.sqrt() * clean + (1 - signal).sqrt() * noise


def sample_times(count: int, focus: tuple[float, float]) -> Tensor:
    """Draw times (count,): 40% in the focus, 8% exactly at 1, where sampling starts."""
    low, high = focus
    anywhere = 0.04 + 0.96 * torch.rand(count)
    focused = low + (high - low) * torch.rand(count)
    times = torch.where(torch.rand(count) < 0.43, focused, anywhere)
    return torch.where(torch.rand(count) < 0.08, torch.ones(count), times)


def loss_weight(times: Tensor) -> Tensor:
    """Weight per sample that makes the noise error count about like an error of the latent."""
    signal = alpha_bar(times)
    weight = ((1 - signal) / signal).clamp(max=WEIGHT_LIMIT) + WEIGHT_FLOOR
    return weight * torch.where(times > 0.999, FIRST_STEP_WEIGHT, 1.0)


class CaptionReader:
    """Random captions of scenes, read by the frozen text encoder."""

    def __init__(
        self, tokenizer: Any, encoder: Any, seed: str, shares: OpenShares = USUAL_SHARES
    ) -> None:
        """Take a tokenizer and its encoder; `seed` chooses the captions."""
        self.shares = shares
        self.tokenizer = tokenizer
        self.encoder = encoder
        self.rng = random.Random(seed)

    def describe(self, scenes: list[Scene], dropout: float) -> list[str]:
        """Return a caption per scene; some are empty, for guidance."""
        return [
            "" if self.rng.random() < dropout else random_caption(scene, self.rng, self.shares)[0]
            for scene in scenes
        ]

    @torch.no_grad()
    def read(self, captions: list[str]) -> tuple[Tensor, Tensor]:
        """Encode as the pipelines do: hidden states (B, 40, 128) and pooled (B, 1, 128)."""
        tokens = self.tokenizer(
            captions,
            padding="max_length",
            max_length=MAX_TOKENS,
            truncation=True,
            return_tensors="pt",
        ).to(torch.get_default_device())
        output = self.encoder(**tokens, output_hidden_states=True)
        return output.hidden_states[-1], output.text_embeds.unsqueeze(1)


def trained_reader(scale: Scale, seed: str) -> CaptionReader:
    """Return a reader with the text encoder that this scale trained."""
    return CaptionReader(load_tokenizer(scale), load_text_encoder(scale), seed)
