from __future__ import annotations

import pytest
import torch

from cascade_core.sampling.noise import NoiseStream

SHAPE = (1, 4, 6, 8)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_draws_are_those_of_one_cpu_generator_in_the_model_dtype(dtype: torch.dtype) -> None:
    generator = torch.Generator("cpu").manual_seed(5)
    stream = NoiseStream(5, SHAPE, dtype)
    for _ in range(3):
        expected = torch.randn(SHAPE, generator=generator, dtype=dtype)
        assert torch.equal(stream.draw(), expected)


def test_peeking_twice_gives_one_draw_and_advancing_the_next() -> None:
    stream, other = NoiseStream(1, SHAPE, torch.float32), NoiseStream(1, SHAPE, torch.float32)
    first = stream.peek()
    assert torch.equal(stream.peek(), first)
    stream.advance()
    assert torch.equal(other.draw(), first)
    assert torch.equal(stream.peek(), other.draw())


def test_advancing_without_a_look_skips_one_draw() -> None:
    stream, other = NoiseStream(1, SHAPE, torch.float32), NoiseStream(1, SHAPE, torch.float32)
    stream.advance()
    other.draw()
    assert torch.equal(stream.draw(), other.draw())


def test_streams_do_not_disturb_each_other_or_the_global_generator() -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    alone = NoiseStream(9, SHAPE, torch.float32).draw()
    mixed, neighbour = NoiseStream(9, SHAPE, torch.float32), NoiseStream(8, SHAPE, torch.float32)
    neighbour.draw()
    assert torch.equal(mixed.draw(), alone)
    assert not torch.equal(neighbour.draw(), alone)
    assert torch.equal(torch.rand(1), expected)
