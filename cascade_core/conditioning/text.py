"""Prompts to embeddings, as Stage C was trained on them."""

from __future__ import annotations

from typing import Any, Self

import torch

from cascade_core.checkpoints.checkpoint import Checkpoint
from cascade_core.checkpoints.weights import load_text_config, load_text_encoder, load_tokenizer
from cascade_core.request import GenerationRequest


class TextEncoder:
    """Tokenizer and CLIP text model.

    Source: StableCascadePriorPipeline.encode_prompt, diffusers 0.42.1.
    """

    def __init__(self, tokenizer: Any, model: Any) -> None:
        self._tokenizer = tokenizer
        self._model = model
        self._max_tokens = _max_tokens(tokenizer, model.config)

    @classmethod
    def load(cls, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype) -> Self:
        """Load both parts.

        Raises:
            ModelUnavailable: files are missing or wrong.
        """
        return cls(load_tokenizer(checkpoint), load_text_encoder(checkpoint, device, dtype))

    @property
    def max_tokens(self) -> int:
        """How many tokens are read, begin and end included; a longer prompt is cut off."""
        return self._max_tokens

    @torch.inference_mode()
    def encode(self, prompt: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the sequence embedding (1, T, D) and the pooled one (1, 1, P).

        Prompts are encoded one at a time: an embedding then never depends on another prompt.
        """
        tokens = self._tokenizer(
            prompt,
            padding="max_length",
            max_length=self._max_tokens,
            truncation=True,
            return_tensors="pt",
        )
        # Stage C attends to the padding too; with the mask it sees the padding as in its training.
        output = self._model(
            tokens.input_ids.to(self._model.device),
            attention_mask=tokens.attention_mask.to(self._model.device),
            output_hidden_states=True,
        )
        # The last layer's output before the final norm, and three axes for the pooled embedding:
        # the U-Net fails on two.
        return output.hidden_states[-1], output.text_embeds.unsqueeze(1)


class PromptLimit:
    """Warns of prompts that are cut off; it has its own tokenizer, so it needs no Stage C.

    Args:
        tokenizer: a CLIPTokenizer; not shared with another thread.
        max_tokens: how many tokens are read, begin and end included.
    """

    def __init__(self, tokenizer: Any, max_tokens: int) -> None:
        self._tokenizer = tokenizer
        self._max_tokens = max_tokens

    @classmethod
    def load(cls, checkpoint: Checkpoint) -> Self:
        """Load the tokenizer.

        Raises:
            ModelUnavailable: files are missing or wrong.
        """
        tokenizer = load_tokenizer(checkpoint)
        return cls(tokenizer, _max_tokens(tokenizer, load_text_config(checkpoint)))

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
        return len(self._tokenizer(text, verbose=False).input_ids) > self._max_tokens


def _max_tokens(tokenizer: Any, config: Any) -> int:
    # A tokenizer saved without a length claims 10**30.
    return min(int(tokenizer.model_max_length), int(config.max_position_embeddings))
