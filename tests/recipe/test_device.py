"""Suiting a net to a device changes how it computes, not what."""

import torch
from torch import nn

from recipe.device import mixed_precision, suit_device


def make_net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.Conv2d(8, 4, 1))


def test_a_suited_net_gives_the_same_output_under_the_same_names() -> None:
    plain, suited = make_net(), make_net()
    suit_device(suited)
    picture = torch.randn(2, 8, 16, 16)
    assert torch.allclose(plain(picture), suited(picture), atol=1e-6)
    assert list(plain.state_dict()) == list(suited.state_dict())


def test_depthwise_convolutions_keep_full_precision_under_mixed_precision() -> None:
    net = make_net()
    suit_device(net)
    with torch.autocast("cpu", torch.bfloat16):
        output = net[0](torch.randn(1, 8, 16, 16))
    assert output.dtype == torch.float32


def test_mixed_precision_multiplies_in_bfloat16_or_not_at_all() -> None:
    with mixed_precision():
        product = torch.ones(4, 4) @ torch.ones(4, 4)
    assert product.dtype in (torch.bfloat16, torch.float32)
    assert product.float().eq(4).all()
