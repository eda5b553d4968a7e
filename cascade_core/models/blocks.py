"""The blocks of Stable Cascade's U-Nets; all features are (b, h, w, c).

Every block is called with the features, with what it `reads` of the step's inputs and, if it is the
first of its level, with the features of the way down. It does not choose by itself what it reads:
so blocks that are equal but for their weights share their code when they are compiled. Parameters
have the names that diffusers gives them.

Source of the formulas: diffusers 0.42.1, models/unets/unet_stable_cascade.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from cascade_core.models.layers import ResponseNorm, channel_norm, channels_first, resize


class ResBlock(nn.Module):
    """A depthwise convolution, then a two-layer perceptron at every position.

    Attributes:
        reads: nothing of the step's inputs.
    """

    reads = slice(0)

    def __init__(self, channels: int, skip_channels: int, kernel: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels)
        self.channelwise = nn.Sequential(
            nn.Linear(channels + skip_channels, channels * 4),
            nn.GELU(),
            ResponseNorm(channels * 4),
            nn.Identity(),
            nn.Linear(channels * 4, channels),
        )

    def forward(self, x_bhwc: Tensor, _read: Sequence[Tensor], skip_bhwc: Tensor | None) -> Tensor:
        """Return features of the same shape, or of the sides of ``skip_bhwc``."""
        if skip_bhwc is not None and skip_bhwc.shape[1:3] != x_bhwc.shape[1:3]:
            # A side that did not halve evenly on the way down.
            height, width = skip_bhwc.shape[1:3]
            x_bhwc = resize(x_bhwc.float(), (height, width)).to(x_bhwc.dtype)
        spread = channel_norm(self.depthwise(channels_first(x_bhwc)).permute(0, 2, 3, 1))
        if skip_bhwc is not None:
            spread = torch.cat([spread, skip_bhwc], -1)
        mixed: Tensor = self.channelwise(spread)
        return mixed + x_bhwc


class TimeBlock(nn.Module):
    """Scales and shifts the features by the time, with a linear map of its embedding.

    Args:
        channels: of the features.
        time_channels: of the embedding of one time.
        conditions: names of further times that the model was trained with.

    Attributes:
        channels: of the features.
        reads: of the step's inputs, a factor and a summand, (b, 1, 1, c) each.
    """

    def __init__(self, channels: int, time_channels: int, conditions: Sequence[str]) -> None:
        super().__init__()
        self.channels = channels
        self.reads = slice(0)
        names = ["mapper", *(f"mapper_{name}" for name in conditions)]
        for name in names:
            self.add_module(name, nn.Linear(time_channels, channels * 2))
        self._names = names

    def table(self, embedding_st: Tensor) -> Tensor:
        """Return factors and summands of all steps, (steps, 2 channels).

        Args:
            embedding_st: of the time and of each condition, (steps, n * time_channels).
        """
        parts = embedding_st.chunk(len(self._names), dim=1)
        mapped = [self.get_submodule(n)(part) for n, part in zip(self._names, parts, strict=True)]
        factor, summand = torch.stack(mapped).sum(0).chunk(2, dim=1)
        return torch.cat([factor + 1, summand], dim=1)

    def forward(self, x_bhwc: Tensor, read: Sequence[Tensor], _skip: Tensor | None) -> Tensor:
        """Return features of the same shape."""
        factor, summand = read
        return torch.addcmul(summand, x_bhwc, factor)


class Attention(nn.Module):
    """Multi-head attention; one matrix maps to queries, keys and values."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_qkv = nn.Linear(channels, channels * 3)
        self.to_out = nn.ModuleList([nn.Linear(channels, channels)])

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Return (b, queries, c); all arguments are (b, tokens, c)."""
        q, k, v = (
            one.view(*one.shape[:2], self.heads, -1).transpose(1, 2) for one in (query, key, value)
        )
        answer = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        mapped: Tensor = self.to_out[0](answer)
        return mapped


class AttentionBlock(nn.Module):
    """Attention of every position to the context and, if so trained, to all positions.

    Args:
        channels: of the features.
        context_channels: of the context.
        heads: of the attention.
        sees_itself: True if positions attend to each other as well.

    Attributes:
        channels: of the features.
        reads: of the step's inputs, keys and values of the context, (b, tokens, c) each.
    """

    def __init__(self, channels: int, context_channels: int, heads: int, sees_itself: bool) -> None:
        super().__init__()
        self.channels = channels
        self.reads = slice(0)
        self.attention = Attention(channels, heads)
        self.kv_mapper = nn.Sequential(nn.SiLU(), nn.Linear(context_channels, channels))
        self._sees_itself = sees_itself

    def keys_values(self, context_btc: Tensor) -> Tensor:
        """Return the context's keys and values, (b, tokens, 2 channels)."""
        maps = self.attention.to_qkv
        first = self.channels
        return functional.linear(
            self.kv_mapper(context_btc), maps.weight[first:], maps.bias[first:]
        )

    def forward(self, x_bhwc: Tensor, read: Sequence[Tensor], _skip: Tensor | None) -> Tensor:
        """Return features of the same shape."""
        keys, values = read
        positions = channel_norm(x_bhwc).flatten(1, 2)
        maps = self.attention.to_qkv
        if self._sees_itself:
            query, own_keys, own_values = maps(positions).chunk(3, dim=2)
            keys = torch.cat([own_keys, keys], 1)
            values = torch.cat([own_values, values], 1)
        else:
            first = self.channels
            query = functional.linear(positions, maps.weight[:first], maps.bias[:first])
        answer: Tensor = self.attention(query, keys, values)
        return x_bhwc + answer.view_as(x_bhwc)
