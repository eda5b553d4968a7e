"""The U-Nets start as the identity on noise and have the sizes the cascade needs."""

import torch
from torch.nn import functional

from recipe.training.unets import build_stage_b, build_stage_c


def test_untrained_stage_b_returns_about_its_noisy_input() -> None:
    torch.manual_seed(1)
    noisy = torch.randn(2, 4, 64, 64)
    with torch.no_grad():
        output = build_stage_b()(
            noisy,
            torch.tensor([1.0, 0.4]),
            clip_text_pooled=torch.randn(2, 1, 128),
            effnet=torch.randn(2, 16, 6, 6),
        ).sample
    assert functional.mse_loss(output, noisy) < 0.05


def test_untrained_stage_c_returns_about_its_noisy_input() -> None:
    torch.manual_seed(1)
    noisy = torch.randn(4, 16, 6, 6)
    with torch.no_grad():
        output = build_stage_c()(
            noisy,
            torch.rand(4),
            clip_text_pooled=torch.randn(4, 1, 128),
            clip_text=torch.randn(4, 40, 128),
            clip_img=torch.zeros(4, 1, 128),
        ).sample
    assert functional.mse_loss(output, noisy) < 0.1


def test_gradients_reach_the_conditions_from_the_first_step() -> None:
    net = build_stage_b()
    output = net(
        torch.randn(1, 4, 64, 64),
        torch.ones(1),
        clip_text_pooled=torch.randn(1, 1, 128),
        effnet=torch.randn(1, 16, 6, 6),
    ).sample
    output.square().mean().backward()
    assert net.effnet_mapper[0].weight.grad.abs().max() > 0
    assert net.clip_txt_pooled_mapper.weight.grad.abs().max() > 0


def test_other_shapes_than_square_pass_through_both_nets() -> None:
    with torch.no_grad():
        wide = build_stage_b()(
            torch.randn(1, 4, 64, 96),
            torch.ones(1),
            clip_text_pooled=torch.randn(1, 1, 128),
            effnet=torch.randn(1, 16, 6, 9),
        ).sample
    assert wide.shape == (1, 4, 64, 96)
