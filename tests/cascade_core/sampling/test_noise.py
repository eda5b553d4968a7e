from __future__ import annotations

import pytest
import torch

from cascade_core.sampling import noise as noise_module
from cascade_core.sampling.noise import NoiseStream

SHAPE = (1, 4, 6, 8)
DRAW_BYTES = 4 * 6 * 8 * 4
CPU = torch.device("cpu")


def stream_of(seed: int, dtype: torch.dtype = torch.float32, draws: int = 7) -> NoiseStream:
    return NoiseStream(seed, SHAPE, dtype, CPU, draws)


@pytest.fixture
def blocks_of_three(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noise_module, "BLOCK_BYTES", 3 * DRAW_BYTES + 1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_draws_are_those_of_one_cpu_generator_in_the_model_dtype(dtype: torch.dtype) -> None:
    generator = torch.Generator("cpu").manual_seed(5)
    stream = stream_of(5, dtype)
    for _ in range(7):
        expected = torch.randn(SHAPE, generator=generator, dtype=dtype)
        assert torch.equal(stream.draw(), expected)


@pytest.mark.parametrize("shape", [(1, 16, 6, 9), (1, 3, 5, 7), (1, 1, 2, 3)])
def test_draws_of_any_shape_are_those_of_one_cpu_generator(shape: tuple[int, ...]) -> None:
    generator = torch.Generator("cpu").manual_seed(2)
    stream = NoiseStream(2, shape, torch.float32, CPU, 4)
    for _ in range(4):
        assert torch.equal(stream.draw(), torch.randn(shape, generator=generator))


def test_all_draws_of_a_short_request_lie_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = stream_of(5)
    monkeypatch.setattr(torch.Tensor, "normal_", None)
    assert len({stream.draw().sum().item() for _ in range(7)}) == 7


@pytest.mark.usefixtures("blocks_of_three")
def test_draws_in_blocks_are_the_same() -> None:
    stream, generator = stream_of(5), torch.Generator("cpu").manual_seed(5)
    for _ in range(7):
        assert torch.equal(stream.draw(), torch.randn(SHAPE, generator=generator))


@pytest.mark.usefixtures("blocks_of_three")
def test_a_row_keeps_no_more_draws_ahead_than_a_block_holds() -> None:
    stream = stream_of(5)
    kept = [stream.draw().untyped_storage().nbytes() // DRAW_BYTES for _ in range(7)]
    assert kept == [3, 3, 3, 3, 3, 3, 1]


@pytest.mark.usefixtures("blocks_of_three")
def test_a_block_for_which_memory_runs_out_is_drawn_the_same_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream, other = stream_of(5), stream_of(5)
    for _ in range(3):
        stream.draw()
        other.draw()
    with monkeypatch.context() as patch:
        patch.setattr(torch, "empty", _run_out)
        with pytest.raises(MemoryError):
            stream.peek()
    assert torch.equal(stream.peek(), other.peek())


def test_peeking_twice_gives_one_draw_and_advancing_the_next() -> None:
    stream, other = stream_of(1), stream_of(1)
    first = stream.peek()
    assert torch.equal(stream.peek(), first)
    stream.advance()
    assert torch.equal(other.draw(), first)
    assert torch.equal(stream.peek(), other.draw())


@pytest.mark.usefixtures("blocks_of_three")
def test_advancing_without_a_look_skips_one_draw() -> None:
    stream, other = stream_of(1), stream_of(1)
    for _ in range(4):
        stream.advance()
        other.draw()
        assert torch.equal(stream.peek(), other.peek())


def test_streams_do_not_disturb_each_other_or_the_global_generator() -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    alone = stream_of(9).draw()
    mixed, neighbour = stream_of(9), stream_of(8)
    neighbour.draw()
    assert torch.equal(mixed.draw(), alone)
    assert not torch.equal(neighbour.draw(), alone)
    assert torch.equal(torch.rand(1), expected)


def _run_out(*_: object, **__: object) -> None:
    raise MemoryError
