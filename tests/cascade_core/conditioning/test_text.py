"""What is said about prompts that are longer than what Stage C reads, and what is kept of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cascade_core.checkpoints.checkpoint import Checkpoint, ModelSource, open_checkpoint
from cascade_core.checkpoints.model_folders import DEMO_MODEL
from cascade_core.checkpoints.weights import Placement
from cascade_core.conditioning import text as text_module
from cascade_core.conditioning.text import PromptLimit, TextEncoder
from cascade_core.errors import ModelUnavailable
from cascade_core.families.stable_cascade import STABLE_CASCADE
from cascade_core.pipeline import CascadePipeline
from cascade_core.request import GenerationRequest
from tests.stock_models import stock_text_encoder
from tests.tiny_model import TinyModel


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return open_checkpoint(ModelSource(DEMO_MODEL))


@pytest.fixture(scope="module")
def limit(checkpoint: Checkpoint) -> PromptLimit:
    return PromptLimit.load(checkpoint)


def request(prompt: str, negative_prompt: str = "") -> GenerationRequest:
    return GenerationRequest(
        prompt=prompt,
        negative_prompt=negative_prompt,
        width=256,
        height=256,
        seed=0,
        decoder_seed=0,
    )


def test_a_prompt_is_reported_from_the_first_token_on_that_is_cut_off(
    checkpoint: Checkpoint, limit: PromptLimit
) -> None:
    text = TextEncoder.load(checkpoint, *Placement("cpu", "float32").resolve())
    used = text.max_tokens - 2
    fits = " ".join(["red"] * used)
    assert limit.warnings(request(fits)) == []
    assert limit.warnings(request(fits + " red")) == [
        f"only the first {used} tokens of the prompt are used"
    ]
    # The limit is the encoder's own: what comes beyond it changes nothing, what comes before does.
    embedding, _ = text.encode(fits)
    assert embedding.equal(text.encode(fits + " blue")[0])
    assert not embedding.equal(text.encode(fits.replace("red", "blue", 1))[0])


def test_the_negative_prompt_is_reported_on_its_own(limit: PromptLimit) -> None:
    many = "circle " * 200
    [warning] = limit.warnings(request("a red circle", many))
    assert warning.endswith("tokens of the negative prompt are used")
    assert len(limit.warnings(request(many, many))) == 2


def test_characters_of_several_tokens_are_counted_as_such(limit: PromptLimit) -> None:
    assert limit.warnings(request("\U0001f534" * 36))


@pytest.fixture
def runs(tiny_model: TinyModel) -> Iterator[list[int]]:
    """One entry per run of the text model."""
    found: list[int] = []
    model = tiny_model.text_encoder
    hook = model.register_forward_hook(lambda *_: found.append(1))
    yield found
    hook.remove()


def fresh(model: TinyModel) -> TextEncoder:
    return stock_text_encoder(model)


def test_a_text_is_encoded_once_while_it_is_kept(tiny_model: TinyModel, runs: list[int]) -> None:
    encoder = fresh(tiny_model)
    first, again = encoder.encode("a red cat"), encoder.encode("a red cat")
    assert len(runs) == 1
    assert all(torch.equal(*pair) for pair in zip(first, again, strict=True))


def test_every_text_gets_its_own_embeddings(tiny_model: TinyModel) -> None:
    encoder = fresh(tiny_model)
    texts = ["", " ", "a red cat", "a red  cat", "A red cat", "a red cat ", "cat red a"]
    for text in (*texts, *reversed(texts)):
        kept, alone = encoder.encode(text), fresh(tiny_model).encode(text)
        assert all(torch.equal(*pair) for pair in zip(kept, alone, strict=True)), text


def test_the_text_that_was_not_used_for_the_longest_time_is_dropped(
    tiny_model: TinyModel, runs: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_module, "MAX_CACHED_TEXTS", 2)
    encoder = fresh(tiny_model)
    for text in ("", "a", "", "b", ""):  # "b" takes the place of "a"
        encoder.encode(text)
    assert len(runs) == 3
    encoder.encode("a")
    assert len(runs) == 4


def test_large_embeddings_are_kept_up_to_a_number_of_bytes(
    tiny_model: TinyModel, runs: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    size = sum(part.nbytes for part in fresh(tiny_model).encode(""))
    runs.clear()
    monkeypatch.setattr(text_module, "MAX_CACHED_BYTES", 2 * size)
    encoder = fresh(tiny_model)
    for text in ("a", "b", "a", "b"):
        encoder.encode(text)
    assert len(runs) == 2
    monkeypatch.setattr(text_module, "MAX_CACHED_BYTES", 2 * size - 1)
    encoder = fresh(tiny_model)
    for text in ("a", "b", "a", "b"):
        encoder.encode(text)
    assert len(runs) == 6


def test_a_whole_picture_leaves_the_kept_embeddings_as_they_are(checkpoint: Checkpoint) -> None:
    pipeline = CascadePipeline.load(checkpoint, Placement("cpu"), STABLE_CASCADE)
    encoder = pipeline.stages["c"]._text
    texts = ("a red circle", "a blue ring")
    before = [part.clone() for text in texts for part in encoder.encode(text)]
    pipeline.run(replace(request(*texts), guidance_scale=2.0, steps=2, decoder_steps=2))
    after = [part for text in texts for part in encoder.encode(text)]
    assert all(torch.equal(*pair) for pair in zip(before, after, strict=True))


def test_a_tokenizer_with_more_tokens_than_the_text_model_is_refused(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    folder = shutil.copytree(checkpoint.component("tokenizer"), tmp_path / "tokenizer")
    body = json.loads((folder / "tokenizer.json").read_text())
    body["model"]["vocab"]["other</w>"] = len(body["model"]["vocab"])
    (folder / "tokenizer.json").write_text(json.dumps(body))
    other = replace(checkpoint, components=checkpoint.components | {"tokenizer": folder})
    with pytest.raises(ModelUnavailable, match="has 849 tokens and the text encoder knows 848"):
        TextEncoder.load(other, *Placement("cpu", "float32").resolve())
