"""The flow model's net starts from Stage B and can be trained."""

import copy

import pytest
import torch
from safetensors.torch import load_file

from cascade_core.models.layers import ResponseNorm
from recipe.flow.flow_net import LAYERS, TaughtFlow, build_flow, predict, start_from_stage_b
from recipe.scale import MODEL_DIR

STAGE_B = MODEL_DIR / "decoder" / "diffusion_pytorch_model.safetensors"
HALF_BYTES = 2


@pytest.fixture(scope="module")
def taught() -> TaughtFlow:
    torch.manual_seed(0)
    made = TaughtFlow()
    start_from_stage_b(made.net, STAGE_B)
    return made


def inputs(count: int) -> tuple[torch.Tensor, ...]:
    torch.manual_seed(1)
    noisy, times = torch.randn(count, 4, 64, 64), torch.linspace(0.2, 1.0, count)
    return noisy, times, torch.randn(count, 40, 128), torch.randn(count, 1, 128)


def test_the_weights_fit_into_eight_megabytes() -> None:
    assert sum(p.numel() for p in build_flow().parameters()) * HALF_BYTES <= 8e6


def test_layers_that_stage_b_has_get_its_weights_the_last_ones_on_the_way_up(
    taught: TaughtFlow,
) -> None:
    stage_b, places = load_file(STAGE_B), taught.net.places()
    added = (LAYERS - 2) * 3
    for theirs, ours in (
        ("embedding.1.weight", "embedding.1.weight"),
        ("down_blocks.1.5.attention.to_q.weight", "down_blocks.1.5.attention.to_q.weight"),
        ("up_blocks.0.0.depthwise.weight", f"up_blocks.0.{added}.depthwise.weight"),
        ("up_blocks.1.2.depthwise.weight", "up_blocks.1.2.depthwise.weight"),
    ):
        assert torch.equal(places[ours], stage_b[theirs].float()), ours


def test_every_weight_gets_a_gradient_that_is_finite(taught: TaughtFlow) -> None:
    """Stage B has channels that are zero everywhere, where the root of the norm has no gradient."""
    trained = copy.deepcopy(taught)
    direction, painted = trained(*inputs(2))
    (direction.square().mean() + painted.square().mean()).backward()
    for name, parameter in trained.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


def test_training_computes_what_serving_computes(taught: TaughtFlow) -> None:
    served = build_flow()
    served.load_state_dict(taught.net.state_dict())
    assert {type(m) for m in served.modules() if isinstance(m, ResponseNorm)} == {ResponseNorm}
    with torch.no_grad():
        ours, theirs = predict(taught.net, *inputs(2)), predict(served, *inputs(2))
    assert torch.allclose(ours, theirs, atol=1e-5)


def test_rows_of_a_batch_have_their_own_texts_and_times(taught: TaughtFlow) -> None:
    with torch.no_grad():
        together = predict(taught.net, *inputs(3))
        alone = [predict(taught.net, *(one[i : i + 1] for one in inputs(3))) for i in range(3)]
    assert torch.allclose(together, torch.cat(alone), atol=1e-4)
