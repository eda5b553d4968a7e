"""Processes that train one module hold the same weights and stop together."""

from pathlib import Path

import pytest
import torch
from torch import distributed, multiprocessing, nn

from recipe.training.peers import agree, average_gradients, own_number


def _work(rank: int, store: str, results: str) -> None:
    distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    module = nn.Linear(2, 1)
    for parameter in module.parameters():
        parameter.grad = torch.full_like(parameter, float(rank * 4))
    average_gradients(module)
    gradients = [parameter.grad for parameter in module.parameters()]
    found = {"gradients": gradients, "agreed": agree(0.1 * rank), "number": own_number()}
    torch.save(found, f"{results}/{rank}.pt")
    distributed.destroy_process_group()


def test_two_processes_share_their_mean_gradient_and_the_later_end(tmp_path: Path) -> None:
    multiprocessing.spawn(_work, (str(tmp_path / "store"), str(tmp_path)), nprocs=2)
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert all((gradient == 2).all() for gradient in found["gradients"])
        assert found["agreed"] == pytest.approx(0.1)
        assert found["number"] == rank


def test_alone_nothing_changes() -> None:
    module = nn.Linear(2, 1)
    module(torch.ones(1, 2)).sum().backward()
    before = module.weight.grad.clone()
    average_gradients(module)
    assert torch.equal(module.weight.grad, before)
    assert agree(0.3) == 0.3
    assert own_number() == 0
