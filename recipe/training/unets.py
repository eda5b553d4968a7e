"""Stage B and Stage C as small stock StableCascadeUNets, and the start that makes them learn."""

from typing import Any, Final

import torch
from diffusers import StableCascadeUNet
from torch import Tensor, nn

from recipe.training.compressor import LATENT_CHANNELS
from recipe.training.text_encoder import WIDTH as TEXT_WIDTH

CONV_BLOCKS: Final = ("SDCascadeResBlock", "SDCascadeTimestepBlock")
ATTENTION_BLOCKS: Final = (*CONV_BLOCKS, "SDCascadeAttnBlock")
REFERENCE: Final = 2.0
"""Size of the constant channels that keep the layer norms from rescaling the noise."""
QUIET: Final = 0.15


def build_stage_c() -> StableCascadeUNet:
    """Return the untrained Stage C: text -> 16x6x6."""
    net = StableCascadeUNet(
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        timestep_ratio_embedding_dim=32,
        patch_size=1,
        conditioning_dim=128,
        block_out_channels=(128, 128),
        num_attention_heads=(-1, 4),
        down_num_layers_per_block=(1, 2),
        up_num_layers_per_block=(2, 1),
        down_blocks_repeat_mappers=(1, 1),
        up_blocks_repeat_mappers=(1, 1),
        block_types_per_layer=(CONV_BLOCKS, ATTENTION_BLOCKS),
        clip_text_in_channels=TEXT_WIDTH,
        clip_text_pooled_in_channels=TEXT_WIDTH,
        clip_image_in_channels=TEXT_WIDTH,
        # Zero padding under a kernel wider than half the grid tells every cell where it is.
        kernel_size=7,
        dropout=(0.0, 0.0),
        self_attn=(False, True),
        timestep_conditioning_type=("sca", "crp"),
        switch_level=(False,),
    )
    start_as_identity(net)
    return net


def build_stage_b() -> StableCascadeUNet:
    """Return the untrained Stage B: 16x6x6 and pooled text -> 4x64x64."""
    net = StableCascadeUNet(
        in_channels=4,
        out_channels=4,
        timestep_ratio_embedding_dim=32,
        # Few wide positions: per CPU second they learn more than many narrow ones.
        patch_size=4,
        conditioning_dim=128,
        block_out_channels=(128, 192),
        num_attention_heads=(-1, 4),
        down_num_layers_per_block=(1, 2),
        up_num_layers_per_block=(2, 2),
        down_blocks_repeat_mappers=(1, 1),
        up_blocks_repeat_mappers=(1, 1),
        block_types_per_layer=(CONV_BLOCKS, ATTENTION_BLOCKS),
        clip_text_pooled_in_channels=TEXT_WIDTH,
        effnet_in_channels=LATENT_CHANNELS,
        pixel_mapper_in_channels=3,
        kernel_size=5,
        dropout=(0.0, 0.0),
        self_attn=(False, True),
        timestep_conditioning_type=("sca",),
    )
    start_as_identity(net)
    return net


@torch.no_grad()
def start_as_identity(net: StableCascadeUNet, seed: int = 0) -> None:
    """Initialise a U-Net so that its output is close to its noisy input.

    Near t = 1 the noise to predict *is* the input, and the first sampling step magnifies an error
    8 to 16 times, so a net that starts elsewhere spends a small budget on learning the identity.
    The input travels in the first channels of the widest level; the others hold a constant
    reference, against which the stock layer norms barely change the scale of the input.
    """
    torch.manual_seed(seed)
    _quieten_blocks(net)
    channels = net.config.block_out_channels[0]
    carried = net.config.in_channels * net.config.patch_size**2
    reference = torch.zeros(channels)
    reference[carried:] = REFERENCE * (1 - 2 * (torch.arange(channels - carried) % 2))
    carry = torch.zeros(channels, carried)
    carry[:carried] = torch.eye(carried)
    centre = torch.eye(channels) - 1 / channels

    _set_pointwise(net.embedding[1], carry, reference)
    _keep_conditions_apart(net, reference, carried)
    if net.config.switch_level is None:
        _copy_skip(net, channels)
    else:
        _open_level_changes(net)
    read_out = torch.linalg.inv(centre[:carried, :carried]) @ carry.T @ centre
    _set_pointwise(net.clf[1], read_out, torch.zeros(carried))
    _fit_gain(net)


def _quieten_blocks(net: StableCascadeUNet) -> None:
    for module in net.modules():
        kind = type(module).__name__
        if kind == "SDCascadeTimestepBlock":
            for parameter in module.parameters():
                parameter.zero_()
        elif kind == "SDCascadeResBlock":
            _quieten(module.channelwise[4])
        elif kind == "SDCascadeAttnBlock":
            _quieten(module.attention.to_out[0])


def _quieten(layer: nn.Linear) -> None:
    layer.weight.mul_(QUIET)
    layer.bias.zero_()


def _set_pointwise(layer: nn.Conv2d, matrix: Tensor, bias: Tensor) -> None:
    layer.weight.copy_(matrix[:, :, None, None])
    assert layer.bias is not None
    layer.bias.copy_(bias)


def _keep_conditions_apart(net: StableCascadeUNet, reference: Tensor, carried: int) -> None:
    """Keep picture conditions off the channels that carry the input, and off the reference."""
    is_free = (reference != 0).float()
    free = torch.diag(is_free) - is_free[:, None] @ is_free[None] / is_free.sum()
    free -= reference[:, None] @ reference[None] / reference.square().sum()
    for name in ("effnet_mapper", "pixels_mapper"):
        if hasattr(net, name):
            last = getattr(net, name)[2]
            _set_pointwise(last, free @ last.weight[:, :, 0, 0], free @ last.bias)


def _copy_skip(net: StableCascadeUNet, channels: int) -> None:
    """Let the widest level's skip pass its first up block: gelu(z) - gelu(-z) = z."""
    last_upscaler = net.up_upscalers[-2][1]
    last_upscaler.weight.mul_(0.1)
    last_upscaler.bias.zero_()
    first, last = (net.up_blocks[-1][0].channelwise[i] for i in (0, 4))
    identity = torch.eye(channels)
    first.weight[: 2 * channels] = 0
    first.weight[:channels, channels:] = identity
    first.weight[channels : 2 * channels, channels:] = -identity
    first.bias[: 2 * channels] = 0
    last.weight[:, :channels] = identity
    last.weight[:, channels : 2 * channels] = -identity


def _open_level_changes(net: StableCascadeUNet) -> None:
    """Make the pointwise maps between levels of equal width the identity."""
    maps = [down[1].blocks[0] for down in net.down_downscalers[1:]]
    maps += [up[1].blocks[1] for up in net.up_upscalers[:-1]]
    for layer in maps:
        _set_pointwise(layer, torch.eye(layer.out_channels), torch.zeros(layer.out_channels))


def _fit_gain(net: StableCascadeUNet) -> None:
    """Scale the read-out so that random noise comes out at its own size."""
    count, side = 8, 8 * net.config.patch_size
    noise = torch.randn(count, net.config.in_channels, side, side)
    extra: dict[str, Any] = {"clip_text_pooled": torch.randn(count, 1, TEXT_WIDTH)}
    if net.config.effnet_in_channels:
        extra["effnet"] = torch.randn(count, net.config.effnet_in_channels, 6, 6)
    output = net(noise, torch.rand(count), **extra).sample
    net.clf[1].weight.mul_((noise * output).sum() / output.square().sum())
