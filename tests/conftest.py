"""Fixtures that several rooms share; heavy imports happen only in tests that use them."""

from __future__ import annotations

import os
import socket
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest
from hypothesis import HealthCheck, settings
from xdist.remote import Producer

from tests.sharing import Sharing, put_in_order

if TYPE_CHECKING:
    from cascade_core.checkpoints.checkpoint import Checkpoint
    from cascade_core.pipeline import CascadePipeline
    from tests.private_postgres import PrivatePostgres
    from tests.tiny_model import TinyModel
    from tests.wire.fake_discord.oracle import Oracle

MAX_BYTES_IN_NAME = 16

# As in the service: with other numbers of threads torch rounds other pixels up. Read when torch is
# imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Ray runs its processes at nice 15; the tests beside them would leave them hardly any CPU time.
os.environ.setdefault("RAY_worker_niceness", "0")

# Each of Ray's nodes would begin with an idle process for each of its CPUs, real or only counted.
os.environ.setdefault("RAY_prestart_worker_first_driver", "0")

# The first draw builds tables of all of Unicode, and test machines are busy: no timing here.
settings.register_profile(
    "busy", deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("few", settings.get_profile("busy"), max_examples=10)
settings.load_profile("busy")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Sharing:
    return Sharing(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.nodeid.startswith("tests/ray/"):
            item.add_marker(pytest.mark.ray)
    put_in_order(items)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    # All processes must collect the same names, and igzip may compress equal pixels differently.
    return argname if isinstance(val, bytes) and len(val) > MAX_BYTES_IN_NAME else None


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every connection and name look-up fail."""

    def refuse(*_: object) -> NoReturn:
        raise OSError("this test allows no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PrivatePostgres]:
    """A PostgreSQL server for this run; tests that need one are skipped where it is missing."""
    from tests.private_postgres import find_binaries, memory, running

    binaries = find_binaries()
    if binaries is None:
        pytest.skip("PostgreSQL is not installed; get it with: apt-get install postgresql")
    with running(binaries, parent=memory()) as server:
        yield server


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """An S3 endpoint in a process of its own; gives its URL."""
    from tests.s3_server import running

    with running() as url:
        yield url


@pytest.fixture(scope="session")
def oracle() -> Oracle | None:
    """Discord's OpenAPI document; None, with a notice, where it is not at hand."""
    from tests.wire.fake_discord.oracle import NOTICE, load

    found = load()
    if found is None:
        warnings.warn(NOTICE, stacklevel=1)
    return found


@pytest.fixture(scope="session")
def tiny_model() -> TinyModel:
    """A random-weight model's modules, float32; do not change them."""
    import torch

    from tests.tiny_model import build_tiny_model

    torch.set_num_threads(1)
    return build_tiny_model()


@pytest.fixture(scope="session")
def tiny_folder(tiny_model: TinyModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The random-weight model, saved as one combined folder; do not change it."""
    from tests.tiny_model import write_combined

    return write_combined(tiny_model, tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def tiny_checkpoint(tiny_folder: Path) -> Checkpoint:
    """The opened random-weight model."""
    from cascade_core.checkpoints.checkpoint import ModelSource, open_checkpoint

    return open_checkpoint(ModelSource(str(tiny_folder)))


@pytest.fixture(scope="session")
def tiny_pipeline(tiny_checkpoint: Checkpoint) -> CascadePipeline:
    """The random-weight model, loaded from its folder in float32 on the CPU."""
    from cascade_core.checkpoints.weights import Placement
    from cascade_core.families.stable_cascade import STABLE_CASCADE
    from cascade_core.pipeline import CascadePipeline

    return CascadePipeline.load(tiny_checkpoint, Placement("cpu"), STABLE_CASCADE)


@pytest.fixture(scope="session")
def stock_pipeline(tiny_checkpoint: Checkpoint, tiny_model: TinyModel) -> CascadePipeline:
    """The same model with diffusers' modules in place of our networks."""
    from tests.stock_models import stock_modules_pipeline

    return stock_modules_pipeline(tiny_checkpoint, tiny_model)
