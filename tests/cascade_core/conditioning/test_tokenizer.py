"""Our tokenizer against that of transformers, from each kind of file that it saves."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import CLIPTokenizer

from cascade_core.checkpoints.model_folders import DEMO_MODEL_DIR
from cascade_core.conditioning.tokenizer import ClipTokenizer
from cascade_core.errors import ModelUnavailable
from tests.tiny_model import MAX_TOKENS, TinyModel

TEXTS = [
    "",
    " ",
    "a red cat",
    "A  RED\tcat's\n42 hats!?",
    "it's we'll they've I'm don't he'd you're",
    "<|startoftext|>red<|endoftext|> red",
    "caf\u00e9 cafe\u0301 \u4f60\u597d \U0001f534\U0001f469\u200d\U0001f680",
    "red " * 500,
    "red,red;red--red...",
]


@pytest.fixture(scope="module", params=["whole", "parts"])
def folder(
    request: pytest.FixtureRequest, tiny_model: TinyModel, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The tokenizer as one file, and as the vocabulary and merges of older versions."""
    folder = tmp_path_factory.mktemp(request.param)
    tiny_model.tokenizer.save_pretrained(folder)
    if request.param == "parts":
        model = json.loads((folder / "tokenizer.json").read_text())["model"]
        (folder / "vocab.json").write_text(json.dumps(model["vocab"]))
        merges = [" ".join(pair) for pair in model["merges"]]
        (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n")
        (folder / "tokenizer.json").unlink()
    return folder


def check_equal(ours: ClipTokenizer, stock: Any, text: str, max_tokens: int) -> None:
    expected = stock(text, padding="max_length", max_length=max_tokens, truncation=True)
    assert ours.encode(text, max_tokens) == (expected.input_ids, expected.attention_mask)
    assert ours.count(text) == len(stock(text, verbose=False).input_ids)


@pytest.mark.parametrize("max_tokens", [MAX_TOKENS, 8])
@pytest.mark.parametrize("text", TEXTS)
def test_every_text_has_the_tokens_of_transformers(
    text: str, max_tokens: int, folder: Path, tiny_model: TinyModel
) -> None:
    check_equal(ClipTokenizer.load(folder), tiny_model.tokenizer, text, max_tokens)


DEMO = DEMO_MODEL_DIR / "tokenizer"
OURS, STOCK = ClipTokenizer.load(DEMO), CLIPTokenizer.from_pretrained(DEMO, local_files_only=True)


@given(st.text())
def test_any_text_has_the_tokens_of_transformers(text: str) -> None:
    check_equal(OURS, STOCK, text, 40)


def test_the_length_and_the_padding_come_from_the_configuration(
    folder: Path, tiny_model: TinyModel
) -> None:
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text())
    assert ClipTokenizer.load(folder).max_tokens == MAX_TOKENS
    try:
        padding = {"content": "!", "__type": "AddedToken"}
        path.write_text(json.dumps({"model_max_length": 40, "pad_token": padding}))
        changed = ClipTokenizer.load(folder)
    finally:
        path.write_text(json.dumps(config))
    assert changed.max_tokens == 40
    assert changed.encode("", 4).ids[2:] == [tiny_model.tokenizer.get_vocab()["!"]] * 2


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("tokenizer.json", "{"),
        ("tokenizer_config.json", '{"pad_token": "<|nothing|>"}'),
        ("tokenizer_config.json", '{"model_max_length": "many"}'),
        ("tokenizer_config.json", '{"model_max_length": 1e999}'),
        ("tokenizer_config.json", '{"model_max_length": 1}'),
        ("tokenizer_config.json", '{"model_max_length": -1}'),
        ("tokenizer_config.json", '{"pad_token": {}}'),
        ("tokenizer_config.json", '{"pad_token": "\\ud800"}'),
        ("tokenizer_config.json", "[]"),
        ("tokenizer.json", "{}"),
        ("tokenizer.json", "[" * 100_000),
        ("tokenizer.json", '{"model": {"vocab": {"a": 0}, "merges": []}}'),
        ("tokenizer.json", '{"model": {"vocab": [], "merges": []}}'),
        ("tokenizer.json", '{"model": {"vocab": {"a": -1}, "merges": []}}'),
        ("tokenizer.json", '{"model": {"vocab": {"a": 0}, "merges": ["a b c"]}}'),
        ("tokenizer.json", '{"model": {"vocab": {"a": 0}, "merges": [["a", "b"]]}}'),
        ("tokenizer.json", '{"model": {"vocab": {}, "merges": []}, "added_tokens": [5]}'),
    ],
)
def test_a_file_that_is_wrong_is_one_sentence(
    name: str, content: str, tiny_model: TinyModel, tmp_path: Path
) -> None:
    tiny_model.tokenizer.save_pretrained(tmp_path)
    (tmp_path / name).write_text(content)
    with pytest.raises(ModelUnavailable) as caught:
        ClipTokenizer.load(tmp_path)
    assert "\n" not in caught.value.message


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    """A copy of the demo model's tokenizer that a test may change."""
    copied: Path = shutil.copytree(DEMO, tmp_path / "demo")
    return copied


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_nothing_but_vocabulary_merges_and_added_tokens_is_read_of_one_file(demo: Path) -> None:
    path = demo / "tokenizer.json"
    model = json.loads(path.read_text())["model"] | {"dropout": 0.5, "end_of_word_suffix": ""}
    change(path, model=model, normalizer=None, pre_tokenizer=None, post_processor=None)
    changed, text = ClipTokenizer.load(demo), "A  RED\tcircle, and a small blue square's shadow"
    assert all(changed.encode(text, 40) == OURS.encode(text, 40) for _ in range(20))
    check_equal(changed, CLIPTokenizer.from_pretrained(demo, local_files_only=True), text, 40)


def test_merges_may_be_texts(demo: Path) -> None:
    path = demo / "tokenizer.json"
    model = json.loads(path.read_text())["model"]
    change(path, model=model | {"merges": [" ".join(pair) for pair in model["merges"]]})
    text = "a small red circle"
    assert ClipTokenizer.load(demo).encode(text, 40) == OURS.encode(text, 40)


def test_added_tokens_keep_their_ids(demo: Path) -> None:
    path = demo / "tokenizer.json"
    added = json.loads(path.read_text())["added_tokens"]
    new = added[0] | {"id": OURS.ids, "content": "<|style|>"}
    change(path, added_tokens=[new, *added])
    changed = ClipTokenizer.load(demo)
    assert changed.ids == OURS.ids + 1
    text = "a red <|style|> circle"
    assert OURS.ids in changed.encode(text, 40).ids
    check_equal(changed, CLIPTokenizer.from_pretrained(demo, local_files_only=True), text, 40)
    change(path, added_tokens=[new | {"id": OURS.ids + 7}, *added])
    with pytest.raises(ModelUnavailable, match=r"<\|style\|>' cannot have the id"):
        ClipTokenizer.load(demo)


@pytest.mark.parametrize("config", [{}, {"model_max_length": None}])
def test_a_tokenizer_may_state_no_length(config: dict[str, None], demo: Path) -> None:
    (demo / "tokenizer_config.json").write_text(json.dumps(config))
    assert ClipTokenizer.load(demo).max_tokens > 10**9


def test_a_missing_vocabulary_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_text("{}")
    with pytest.raises(ModelUnavailable, match="cannot be loaded"):
        ClipTokenizer.load(tmp_path)
