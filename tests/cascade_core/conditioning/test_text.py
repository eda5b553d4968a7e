"""What is said about prompts that are longer than what Stage C reads."""

from __future__ import annotations

import pytest

from cascade_core.checkpoints.checkpoint import DEMO_MODEL, Checkpoint, ModelSource, open_checkpoint
from cascade_core.checkpoints.weights import Placement
from cascade_core.conditioning.text import PromptLimit, TextEncoder
from cascade_core.request import GenerationRequest


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
