"""CLIP's tokenizer, from the files that transformers saves.

Source of the rules: CLIPTokenizer, transformers 5.23.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from tokenizers import AddedToken, Regex, Tokenizer, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE

from cascade_core.checkpoints.layout import as_unavailable, read_json
from cascade_core.errors import ModelUnavailable

_BEGIN, _END = "<|startoftext|>", "<|endoftext|>"
_WORDS: Final = (
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
)


_FEWEST_TOKENS: Final = 2  # begin and end
_NO_LENGTH: Final = 10**30  # what transformers saves for it


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
        with as_unavailable(folder):
            tokenizer = _build(*_read_vocabulary(folder))
            return cls(tokenizer, _text_of(config, "pad_token"), _read_length(config))

    @property
    def ids(self) -> int:
        """How many ids there are; the highest that a text can have is one less."""
        return 1 + max(self._tokenizer.get_vocab().values())

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


def _read_vocabulary(folder: Path) -> tuple[BPE, list[Mapping[str, Any]]]:
    """Return the model of either kind of file, and the added tokens in the order of their ids.

    As in transformers nothing else of ``tokenizer.json`` counts: it could drop merges at random.
    """
    path = folder / "tokenizer.json"
    added: list[Mapping[str, Any]] = []
    if path.is_file():
        body = read_json(path)
        vocabulary = body["model"]["vocab"]
        merges = [_pair(merge) for merge in body["model"]["merges"]]
        added = sorted(body.get("added_tokens", []), key=itemgetter("id"))
    else:
        vocabulary, merges = BPE.read_file(str(folder / "vocab.json"), str(folder / "merges.txt"))
    model = BPE(
        vocabulary,
        merges,
        unk_token=_END,
        continuing_subword_prefix="",
        end_of_word_suffix="</w>",
    )
    if model.token_to_id(_END) is None:  # it stands for what is unknown too
        raise ValueError(f"the vocabulary lacks {_END}")
    return model, added


def _pair(merge: str | Sequence[str]) -> tuple[str, str]:
    first, second = merge.split(" ") if isinstance(merge, str) else merge
    return first, second


def _build(model: BPE, added: Sequence[Mapping[str, Any]]) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    words = pre_tokenizers.Split(Regex(_WORDS), behavior="removed", invert=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [words, pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    for token in added:
        _add(tokenizer, token)
    tokenizer.add_special_tokens([_BEGIN, _END])
    vocabulary = tokenizer.get_vocab()
    tokenizer.post_processor = processors.RobertaProcessing(
        (_END, vocabulary[_END]),
        (_BEGIN, vocabulary[_BEGIN]),
        trim_offsets=False,
        add_prefix_space=False,
    )
    return tokenizer


def _add(tokenizer: Tokenizer, saved: Mapping[str, Any]) -> None:
    content, flags = saved["content"], {key: saved[key] for key in saved if key != "id"}
    add = tokenizer.add_special_tokens if flags["special"] else tokenizer.add_tokens
    add([AddedToken(**flags)])
    if tokenizer.token_to_id(content) != saved["id"]:
        raise ValueError(f"the added token {content!r} cannot have the id {saved['id']}")


def _read_length(config: Mapping[str, Any]) -> int:
    given = config.get("model_max_length")
    length = _NO_LENGTH if given is None else int(given)
    if length < _FEWEST_TOKENS:
        raise ValueError(f"model_max_length must be {_FEWEST_TOKENS} or more, got {length}")
    return length


def _text_of(config: Mapping[str, Any], name: str) -> str:
    """Return a token that is given as a text, or as an object with its ``content``."""
    token = config.get(name, _END)
    return str(token["content"] if isinstance(token, Mapping) else token)
