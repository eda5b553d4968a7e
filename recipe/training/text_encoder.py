"""Tokenizer and text encoder, trained to read what a caption says about its scene."""

import json
import random
import re
from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModelWithProjection, CLIPTokenizer

from recipe.scale import Scale
from recipe.scenes.captions import Mentions, random_caption
from recipe.scenes.data import training_scene
from recipe.scenes.scene import COLOUR_NAMES, PLACES, SHAPES, SIZES, TEXTURES
from recipe.training.train import Trainer, load_average

MAX_TOKENS = 40
WIDTH = 128
ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "shape": SHAPES,
    "colour": COLOUR_NAMES,
    "texture": TEXTURES,
    "place": tuple(PLACES),
    "size": SIZES,
}
START, END = "<|startoftext|>", "<|endoftext|>"
WORD_PATTERN = r"[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


def make_tokenizer(scale: Scale) -> None:
    """Learn byte-pair merges under which every common caption word is a single token."""
    rng = random.Random("tokenizer")
    counts: dict[str, int] = {}
    for number in range(scale.captions):
        caption = random_caption(training_scene(scale, number % scale.scenes), rng)[0]
        for word in re.findall("[a-z0-9]+", caption):
            counts[word] = counts.get(word, 0) + 1
    merges = _learn_merges([word for word, count in counts.items() if count >= 5])
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*alphabet, *(letter + "</w>" for letter in alphabet)]
    tokens += dict.fromkeys(a + b for a, b in merges)
    vocabulary = {token: i for i, token in enumerate(dict.fromkeys([*tokens, START, END]))}
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=MAX_TOKENS)
    tokenizer.save_pretrained(tokenizer_dir(scale))


def _learn_merges(words: list[str]) -> list[tuple[str, str]]:
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORD_PATTERN), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=4000,
        min_frequency=1,
        special_tokens=[],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    # Each word often enough that no merge is refused as rare.
    tokenizer.train_from_iterator([" ".join([word] * 5) for word in words], trainer)
    return [tuple(pair) for pair in json.loads(tokenizer.to_str())["model"]["merges"]]


def tokenizer_dir(scale: Scale) -> Path:
    """Where the tokenizer of this scale is saved."""
    return scale.work_dir / "tokenizer"


def load_tokenizer(scale: Scale) -> Any:
    """Load the tokenizer that `make_tokenizer` saved."""
    return CLIPTokenizer.from_pretrained(tokenizer_dir(scale))


def build_text_encoder(tokenizer: Any) -> CLIPTextModelWithProjection:
    """Return an untrained encoder for the tokenizer's vocabulary."""
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=384,
        projection_dim=WIDTH,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=tokenizer.model_max_length,
        hidden_act="gelu",
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModelWithProjection(config)


def load_text_encoder(scale: Scale) -> CLIPTextModelWithProjection:
    """Return the trained encoder, frozen."""
    reader = SceneReader(build_text_encoder(load_tokenizer(scale)))
    load_average(reader, scale.work_dir / "text_encoder.pt")
    return reader.encoder.requires_grad_(False)


class SceneReader(nn.Module):
    """The encoder with a head that names every attribute of up to two things."""

    def __init__(self, encoder: CLIPTextModelWithProjection) -> None:
        """Add the head, one group of logits per attribute, `absent` first in each."""
        super().__init__()
        self.encoder = encoder
        per_thing = [len(values) + 1 for values in ATTRIBUTES.values()]
        self.groups = [*per_thing, *per_thing, len(COLOUR_NAMES) + 1]
        self.head = nn.Sequential(
            nn.Linear(WIDTH, 256), nn.GELU(), nn.Linear(256, sum(self.groups))
        )

    def forward(self, tokens: dict[str, Tensor]) -> list[Tensor]:
        """Return logits (B, classes) per attribute: thing 1, thing 2, background."""
        return list(self.head(self.encoder(**tokens).text_embeds).split(self.groups, 1))


def reading_targets(mentions: list[Mentions], background: str | None) -> list[int]:
    """Class numbers in the order of `SceneReader.groups`; 0 means not mentioned."""
    targets = []
    for slot in range(2):
        said = mentions[slot] if slot < len(mentions) else {}
        for attribute, values in ATTRIBUTES.items():
            targets.append(values.index(said[attribute]) + 1 if attribute in said else 0)
    return [*targets, COLOUR_NAMES.index(background) + 1 if background else 0]


def train_text_encoder(scale: Scale) -> None:
    """Train tokenizer and encoder."""
    if not (tokenizer_dir(scale) / "tokenizer_config.json").exists():
        make_tokenizer(scale)
    tokenizer = load_tokenizer(scale)
    rng = random.Random("text encoder")
    torch.manual_seed(0)
    reader = SceneReader(build_text_encoder(tokenizer))

    def batch(count: int) -> tuple[dict[str, Tensor], Tensor]:
        scenes = [training_scene(scale, rng.randrange(10**6)) for _ in range(count)]
        said = [random_caption(scene, rng) for scene in scenes]
        tokens = tokenizer([s[0] for s in said], padding="longest", return_tensors="pt",
                           truncation=True, max_length=MAX_TOKENS)  # fmt: skip
        tokens = tokens.to(torch.get_default_device())
        return dict(tokens), torch.tensor([reading_targets(m, b) for _, m, b in said])

    def loss_of_step(_step: int, _fraction: float) -> Tensor:
        tokens, targets = batch(scale.text.batch)
        losses = [
            nn.functional.cross_entropy(logits, target)
            for logits, target in zip(reader(tokens), targets.unbind(1), strict=True)
        ]
        return torch.stack(losses).mean()

    def validate(_reader: nn.Module) -> str:
        tokens, targets = batch(500)
        right = [
            (logits.argmax(1) == target).float().mean().item()
            for logits, target in zip(reader(tokens), targets.unbind(1), strict=True)
        ]
        return f"accuracy mean {sum(right) / len(right):.4f} worst {min(right):.4f}"

    trainer = Trainer(reader, scale.text, scale.work_dir / "text_encoder.pt")
    trainer.run(loss_of_step, validate)
