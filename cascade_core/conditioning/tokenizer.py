"""CLIP's tokenizer, from the files that transformers saves.

Source of the rules: CLIPTokenizer, transformers 5.23.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE

from cascade_core.checkpoints.layout import read_json
from cascade_core.errors import ModelUnavailable

_BEGIN, _END = "<|startoftext|>", "<|endoftext|>"
_WORDS: Final = (
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
)


class Tokens(NamedTuple):
    """A text's token ids with begin, end and padding; the mask is 0 for padding, 1 for the rest."""

    ids: list[int]
    mask: list[int]


class ClipTokenizer:
    """Texts to token ids; used by one thread at a time.

    Args:
        tokenizer: adds the begin and the end; its own padding and truncation are ignored.
        padding: the token that fills short texts up.
        max_tokens: the longest text that the model was trained on, begin and end included.
    """

    def __init__(self, tokenizer: Tokenizer, padding: str, max_tokens: int) -> None:
        tokenizer.no_padding()
        tokenizer.no_truncation()
        padding_id = tokenizer.token_to_id(padding)
        if padding_id is None:
            raise ModelUnavailable(f"the tokenizer's vocabulary lacks its padding {padding!r}")
        self._tokenizer = tokenizer
        self._padding_id = padding_id
        self.max_tokens = max_tokens

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read ``tokenizer.json``, or ``vocab.json`` with ``merges.txt``.

        Raises:
            ModelUnavailable: a file is missing or wrong.
        """
        config = read_json(folder / "tokenizer_config.json")
        path = folder / "tokenizer.json"
        try:
            whole = path.is_file()
            tokenizer = Tokenizer.from_file(str(path)) if whole else _build(folder)
            # A tokenizer saved without a length claims 10**30.
            max_tokens = int(config.get("model_max_length", 10**30))
        except ModelUnavailable:
            raise
        except Exception as error:  # the library raises plain Exceptions
            reason = str(error).strip().partition("\n")[0]
            raise ModelUnavailable(f"{folder} cannot be loaded: {reason}") from error
        return cls(tokenizer, _text_of(config, "pad_token"), max_tokens)

    def encode(self, text: str, max_tokens: int) -> Tokens:
        """Return exactly ``max_tokens`` tokens: cut off before the end token, or filled up."""
        ids = self._tokenizer.encode(text).ids
        if len(ids) > max_tokens:
            ids = [*ids[: max_tokens - 1], ids[-1]]
        missing = max_tokens - len(ids)
        return Tokens(ids + [self._padding_id] * missing, [1] * len(ids) + [0] * missing)

    def count(self, text: str) -> int:
        """Return how many tokens the whole text has, begin and end included."""
        return len(self._tokenizer.encode(text).ids)


def _build(folder: Path) -> Tokenizer:
    model = BPE.from_file(
        str(folder / "vocab.json"),
        str(folder / "merges.txt"),
        unk_token=_END,
        continuing_subword_prefix="",
        end_of_word_suffix="</w>",
    )
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    words = pre_tokenizers.Split(Regex(_WORDS), behavior="removed", invert=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [words, pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.add_special_tokens([_BEGIN, _END])
    vocabulary = tokenizer.get_vocab()
    tokenizer.post_processor = processors.RobertaProcessing(
        (_END, vocabulary[_END]),
        (_BEGIN, vocabulary[_BEGIN]),
        trim_offsets=False,
        add_prefix_space=False,
    )
    return tokenizer


def _text_of(config: Mapping[str, Any], name: str) -> str:
    """Return a token that is given as a text, or as an object with its ``content``."""
    token = config.get(name, _END)
    return str(token["content"] if isinstance(token, Mapping) else token)
