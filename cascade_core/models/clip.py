"""CLIP's text model with its projection or without, one text at a time.

Source of the formulas: CLIPTextModelWithProjection and CLIPTextModel, transformers 5.23.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from cascade_core.models.limits import (
    MAX_CHANNELS,
    MAX_LAYERS,
    check_count,
    check_heads,
    check_number,
)
from cascade_core.models.network import Network

MAX_TOKENS: Final = 2**24
"""Of a vocabulary; the published one has 49,408."""
LEGACY_END_TOKEN: Final = 2
"""Old configurations name this token although the end token is the one with the highest id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipTextConfig:
    """See transformers' CLIPTextConfig, which has the same names and defaults."""

    vocab_size: int = 49408
    hidden_size: int = 512
    intermediate_size: int = 2048
    projection_dim: int = 512
    num_hidden_layers: int = 12
    num_attention_heads: int = 8
    max_position_embeddings: int = 77
    hidden_act: str = "quick_gelu"
    layer_norm_eps: float = 1e-5
    eos_token_id: int = 49407

    @classmethod
    def read(cls, config: Mapping[str, Any]) -> Self:
        """Return the values of a ``config.json``.

        Raises:
            ValueError: the activation is not known, or no network has such numbers.
        """
        known = {field.name for field in fields(cls)}
        read = cls(**{name: value for name, value in config.items() if name in known})
        if read.hidden_act not in _ACTIVATIONS:
            raise ValueError(f"hidden_act must be one of {', '.join(_ACTIVATIONS)}")
        for name in ("hidden_size", "intermediate_size", "projection_dim"):
            check_count(name, getattr(read, name), 1, MAX_CHANNELS)
        check_count("num_hidden_layers", read.num_hidden_layers, 0, MAX_LAYERS)
        check_count("vocab_size", read.vocab_size, 1, MAX_TOKENS)
        check_count("eos_token_id", read.eos_token_id, 0, MAX_TOKENS)
        positions = read.max_position_embeddings  # begin and end at least
        check_count("max_position_embeddings", positions, 2, MAX_CHANNELS)
        check_heads("num_attention_heads", read.hidden_size, read.num_attention_heads)
        check_number("layer_norm_eps", read.layer_norm_eps)
        return read


class ClipTextModel(Network):
    """Text tokens to embeddings; the names of its weights are transformers'."""

    # Old files have these numbers, which count from 0.
    unused = ("text_model.embeddings.position_ids",)

    def __init__(self, config: ClipTextConfig) -> None:
        super().__init__()
        self.config = config
        self.text_model = _Transformer(config)
        self.text_projection = nn.Linear(config.hidden_size, config.projection_dim, bias=False)

    def forward(self, tokens_bt: Tensor, mask_bt: Tensor) -> tuple[Tensor, Tensor]:
        """Return the last layer's output before the final norm, (b, t, d), and the pooled (b, p).

        Args:
            tokens_bt: token ids with begin, end and padding.
            mask_bt: 0 for padding, 1 for the rest.
        """
        hidden = self.text_model(tokens_bt, mask_bt)
        normed = self.text_model.final_layer_norm(hidden)
        return hidden, self.text_projection(_at_end(normed, tokens_bt, self.config))


class ClipStatesModel(Network):
    """Text tokens to one state for each; there is no projection.

    Files name the weights with ``text_model.`` before them, or without it: transformers has
    changed that.
    """

    unused = ("text_model.embeddings.position_ids", "text_projection.")

    def __init__(self, config: ClipTextConfig) -> None:
        super().__init__()
        self.config = config
        self.text_model = _Transformer(config)

    def forward(self, tokens_bt: Tensor, mask_bt: Tensor) -> tuple[Tensor, Tensor]:
        """Return the states after the final norm, (b, t, d), and that of the end token, (b, d).

        Args:
            tokens_bt: token ids with begin, end and padding.
            mask_bt: 0 for padding, 1 for the rest.
        """
        hidden = self.text_model(tokens_bt, mask_bt)
        normed: Tensor = self.text_model.final_layer_norm(hidden)
        return normed, _at_end(normed, tokens_bt, self.config)

    def compare(self, names: Iterable[str]) -> tuple[Collection[str], Collection[str]]:
        """Compare names of either kind; see :meth:`Network.compare`."""
        return super().compare(map(_with_prefix, names))

    def fill(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        """Take weights with names of either kind; see :meth:`Network.fill`."""
        super().fill((_with_prefix(name), weight) for name, weight in weights)


def _with_prefix(name: str) -> str:
    has_prefix = name.startswith(("text_model.", "text_projection."))
    return name if has_prefix else f"text_model.{name}"


def _at_end(states_btd: Tensor, tokens_bt: Tensor, config: ClipTextConfig) -> Tensor:
    """Return the state of each text's end token, (b, d)."""
    if config.eos_token_id == LEGACY_END_TOKEN:
        ends = tokens_bt.argmax(-1)
    else:
        ends = (tokens_bt == config.eos_token_id).int().argmax(-1)
    rows = torch.arange(len(tokens_bt), device=tokens_bt.device)
    return states_btd[rows, ends]


class _Transformer(nn.Module):
    def __init__(self, config: ClipTextConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.embeddings = _Embeddings(config)
        self.encoder = _Layers(config)
        self.final_layer_norm = nn.LayerNorm(width, eps=config.layer_norm_eps)

    def forward(self, tokens_bt: Tensor, mask_bt: Tensor) -> Tensor:
        """Return the last layer's output."""
        length = tokens_bt.shape[1]
        x: Tensor = self.embeddings(tokens_bt)
        causal = torch.ones(length, length, dtype=torch.bool, device=x.device).tril()
        visible = causal & mask_bt.bool()[:, None, None, :]
        encoded: Tensor = self.encoder(x, visible)
        return encoded


class _Embeddings(nn.Module):
    def __init__(self, config: ClipTextConfig) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(config.vocab_size, config.hidden_size)
        positions = config.max_position_embeddings
        self.position_embedding = nn.Embedding(positions, config.hidden_size)

    def forward(self, tokens_bt: Tensor) -> Tensor:
        """Return each token's embedding with that of its position."""
        positions = self.position_embedding.weight[: tokens_bt.shape[1]]
        embedded: Tensor = self.token_embedding(tokens_bt)
        return embedded + positions


class _Layers(nn.Module):
    def __init__(self, config: ClipTextConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList([_Layer(config) for _ in range(config.num_hidden_layers)])

    def forward(self, x_btd: Tensor, visible: Tensor) -> Tensor:
        """Return the output of the last layer."""
        for layer in self.layers:
            x_btd = layer(x_btd, visible)
        return x_btd


class _Layer(nn.Module):
    def __init__(self, config: ClipTextConfig) -> None:
        super().__init__()
        width, wide = config.hidden_size, config.intermediate_size
        names = ("q_proj", "k_proj", "v_proj", "out_proj")
        self.self_attn = nn.ModuleDict({name: nn.Linear(width, width) for name in names})
        self.layer_norm1 = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, wide), "fc2": nn.Linear(wide, width)})
        self.layer_norm2 = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self._heads = config.num_attention_heads
        self._activation = _ACTIVATIONS[config.hidden_act]

    def forward(self, x_btd: Tensor, visible: Tensor) -> Tensor:
        """Return features of the same shape."""
        normed = self.layer_norm1(x_btd)
        maps = self.self_attn
        q, k, v = (self._split(maps[f"{one}_proj"](normed)) for one in "qkv")
        seen = functional.scaled_dot_product_attention(q, k, v, attn_mask=visible)
        x_btd = x_btd + maps["out_proj"](seen.transpose(1, 2).flatten(2))
        wide = self._activation(self.mlp["fc1"](self.layer_norm2(x_btd)))
        mixed: Tensor = self.mlp["fc2"](wide)
        return x_btd + mixed

    def _split(self, features_btd: Tensor) -> Tensor:
        heads = features_btd.view(*features_btd.shape[:2], self._heads, -1)
        return heads.transpose(1, 2)


def _quick_gelu(features: Tensor) -> Tensor:
    return features * torch.sigmoid(1.702 * features)


_ACTIVATIONS: Final[dict[str, Callable[[Tensor], Tensor]]] = {
    "gelu": functional.gelu,
    "quick_gelu": _quick_gelu,
}
