from collections.abc import Iterator
from pathlib import Path

import pytest

from cascade_core.engine.engine import StepEngine
from tests.cascade_core.model_folders import TEXT, UNET, write_part, write_tokenizer
from tests.cascade_core.toy_stage import Engine, MakeEngine, ToyStage


@pytest.fixture
def stage() -> ToyStage:
    return ToyStage()


@pytest.fixture
def make_engine(stage: ToyStage) -> Iterator[MakeEngine]:
    made: list[Engine] = []

    def make(max_rows: int) -> Engine:
        made.append(StepEngine(stage, max_rows))
        return made[-1]

    yield make
    for engine in made:
        engine.close()
        assert not engine.is_alive()


@pytest.fixture
def combined(tmp_path: Path) -> Path:
    folder = tmp_path / "combined"
    for name in ("prior_prior", "decoder", "vqgan"):
        write_part(folder / name, UNET, name.encode() * 3)
    write_part(folder / "prior_text_encoder", TEXT)
    write_tokenizer(folder / "prior_tokenizer")
    return folder


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    decoder, prior = tmp_path / "cascade", tmp_path / "cascade-prior"
    for name in ("decoder", "decoder_lite", "vqgan"):
        write_part(decoder / name, UNET, name.encode())
    for name in ("prior", "prior_lite"):
        write_part(prior / name, UNET, name.encode())
    for folder in (decoder, prior):
        write_part(folder / "text_encoder", TEXT)
        write_tokenizer(folder / "tokenizer")
    return decoder, prior
