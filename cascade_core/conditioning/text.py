"""Prompts to embeddings, as Stage C was trained on them."""

from __future__ import annotations

from functools import lru_cache
from typing import Self

import torch

from cascade_core.checkpoints.checkpoint import Checkpoint
from cascade_core.checkpoints.weights import (
    load_text_config,
    load_text_encoder,
    load_text_states,
)
from cascade_core.conditioning.tokenizer import ClipTokenizer
from cascade_core.device_copy import to_device
from cascade_core.errors import ModelUnavailable
from cascade_core.models.clip import ClipStatesModel, ClipTextModel
from cascade_core.request import GenerationRequest

MAX_CACHED_TEXTS = 1000
MAX_CACHED_BYTES = 64 * 2**20
"""The published model needs 200 KB for a text in bfloat16, so it keeps about 330."""


class TextEncoder:
    """Tokenizer and CLIP text model; the embeddings of the texts used last are kept.

    Source: encode_prompt of StableCascadePriorPipeline and WuerstchenPriorPipeline, diffusers
    0.42.1.
    """

    def __init__(self, tokenizer: ClipTokenizer, model: ClipTextModel | ClipStatesModel) -> None:
        self._tokenizer = tokenizer
        self._model = model
        self._max_tokens = min(tokenizer.max_tokens, model.config.max_position_embeddings)
        self._encode_cached = lru_cache(self._texts_to_cache())(self._encode)

    @classmethod
    def load(cls, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype) -> Self:
        """Load both parts.

        Raises:
            ModelUnavailable: files are missing or wrong.
        """
        tokenizer = _load_tokenizer(checkpoint, "tokenizer", "text_encoder")
        return cls(tokenizer, load_text_encoder(checkpoint, device, dtype))

    @classmethod
    def load_states(
        cls,
        checkpoint: Checkpoint,
        tokenizer: str,
        text_encoder: str,
        device: torch.device,
        dtype: torch.dtype,
    ) -> Self:
        """Load both parts where the text model has no projection; its states are normed.

        Args:
            checkpoint: where from.
            tokenizer: the name of this component.
            text_encoder: the name of this component.
            device: where to.
            dtype: of all weights.

        Raises:
            ModelUnavailable: files are missing or wrong.
        """
        loaded = _load_tokenizer(checkpoint, tokenizer, text_encoder)
        return cls(loaded, load_text_states(checkpoint, text_encoder, device, dtype))

    @property
    def max_tokens(self) -> int:
        """How many tokens are read, begin and end included; a longer prompt is cut off."""
        return self._max_tokens

    def encode(self, prompt: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the sequence embedding (1, T, D) and the pooled one (1, 1, P).

        Both are shared with other calls for this text: do not change them in place. The cache
        knows no users: a call is faster if anybody used its text lately.

        Prompts are encoded one at a time: an embedding then never depends on another prompt.
        """
        return self._encode_cached(prompt)

    @torch.inference_mode()
    def _encode(self, prompt: str) -> tuple[torch.Tensor, torch.Tensor]:
        tokens = self._tokenizer.encode(prompt, self._max_tokens)
        # Stage C attends to the padding too; with the mask it sees the padding as in its training.
        ids, mask = (to_device(torch.tensor([part]), self._model.device) for part in tokens)
        hidden, pooled = self._model(ids, mask)
        return hidden, pooled.unsqueeze(1)

    def _texts_to_cache(self) -> int:
        config = self._model.config
        values = self._max_tokens * config.hidden_size + config.projection_dim
        text_bytes: int = values * self._model.dtype.itemsize
        return min(MAX_CACHED_TEXTS, MAX_CACHED_BYTES // text_bytes)


class PromptLimit:
    """Warns of prompts that are cut off; it has its own tokenizer, so it needs no Stage C.

    Args:
        tokenizer: not shared with another thread.
        max_tokens: how many tokens are read, begin and end included.
    """

    def __init__(self, tokenizer: ClipTokenizer, max_tokens: int) -> None:
        self._tokenizer = tokenizer
        self._max_tokens = max_tokens

    @classmethod
    def load(
        cls,
        checkpoint: Checkpoint,
        tokenizer_name: str = "tokenizer",
        text_encoder: str = "text_encoder",
    ) -> Self:
        """Load the tokenizer.

        Args:
            checkpoint: where from.
            tokenizer_name: the component that makes tokens of the prompts.
            text_encoder: the component that reads the tokens.

        Raises:
            ModelUnavailable: files are missing or wrong.
        """
        tokenizer = ClipTokenizer.load(checkpoint.component(tokenizer_name))
        positions = load_text_config(checkpoint, text_encoder).max_position_embeddings
        return cls(tokenizer, min(tokenizer.max_tokens, positions))

    def warnings(self, request: GenerationRequest) -> list[str]:
        """Return one sentence about each text of a request that is too long to be read whole."""
        used = self._max_tokens - 2
        texts = {"prompt": request.prompt, "negative prompt": request.negative_prompt}
        return [
            f"only the first {used} tokens of the {name} are used"
            for name, text in texts.items()
            if self._is_cut(text)
        ]

    def _is_cut(self, text: str) -> bool:
        if len(text.encode()) <= self._max_tokens - 2:  # a token is a byte at least
            return False
        return self._tokenizer.count(text) > self._max_tokens


def _load_tokenizer(checkpoint: Checkpoint, tokenizer: str, text_encoder: str) -> ClipTokenizer:
    """Load a tokenizer whose tokens the text encoder knows."""
    folder = checkpoint.component(tokenizer)
    loaded = ClipTokenizer.load(folder)
    known = load_text_config(checkpoint, text_encoder).vocab_size
    if loaded.ids > known:
        raise ModelUnavailable(
            f"{folder} has {loaded.ids} tokens and the text encoder knows {known}: "
            "they are not of one model"
        )
    return loaded
