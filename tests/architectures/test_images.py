"""Deeper networks for images against PyTorch's own layers and published sizes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from netwright.architectures import count_parameters, network
from netwright.architectures.images import PatchTokens, ResidualBlock, SpatialMean, resnet, vit
from netwright.errors import NetworkError, UnknownNameError


def test_resnet_20_has_the_published_size():
    """He et al. 2016, table 6: 0.27 M; the two shortcuts by convolution add 16 x 32 + 32 x 64 weights and 2 x (32 + 64) of norms."""
    assert count_parameters(resnet((3, 32, 32), 10)) == 269_722 + 512 + 2048 + 192


def test_a_block_is_what_the_paper_draws():
    torch.manual_seed(0)
    block, x = ResidualBlock(4, 6, 2).eval(), torch.randn(2, 4, 8, 8)
    inside = block.second_norm(block.second(torch.relu(block.first_norm(block.first(x)))))
    beside = nn.functional.conv2d(x, block.shortcut.weight, stride=2)
    assert torch.allclose(block(x), torch.relu(inside + block.shortcut_norm(beside)), atol=1e-6)
    assert isinstance(ResidualBlock(4, 4).shortcut, nn.Identity)


def test_dropped_blocks_keep_their_mean():
    torch.manual_seed(0)
    block = ResidualBlock(2, 2, norm="none", drop=0.5).train()
    with torch.no_grad():
        for weight in block.parameters():
            weight.copy_(weight.abs())
    x = torch.rand(1, 2, 4, 4).expand(4000, -1, -1, -1)
    out = block(x)
    whole = block.eval()(x[:1])
    assert torch.allclose(out.mean(0), whole[0], rtol=0.1)
    dropped = (out == x).flatten(1).all(1).float().mean()
    assert 0.45 < float(dropped) < 0.55


def test_depth_grows_to_what_is_asked():
    drops = [
        m.drop for m in resnet((1, 16, 16), 2, stochastic_depth=0.3).modules() if isinstance(m, ResidualBlock)
    ]
    assert drops == pytest.approx([0.3 * number / 9 for number in range(1, 10)])


@pytest.mark.parametrize(
    "norm, kind", [("batch", nn.BatchNorm2d), ("group", nn.GroupNorm), ("layer", nn.GroupNorm)]
)
def test_norms(norm, kind):
    modules = list(resnet((1, 8, 8), 2, widths=[8], blocks=1, norm=norm).modules())
    assert sum(isinstance(module, kind) for module in modules) == 3
    assert not any(
        isinstance(m, (nn.BatchNorm2d, nn.GroupNorm)) for m in resnet((1, 8, 8), 2, norm="none").modules()
    )


def test_spatial_mean_is_adaptive_pooling():
    x = torch.randn(3, 5, 7, 9)
    assert torch.allclose(SpatialMean()(x), nn.AdaptiveAvgPool2d(1)(x).flatten(1), atol=1e-6)


def test_patches_are_linear_maps_of_pixels():
    layer, x = PatchTokens(2, 4, 6, (2, 3)), torch.randn(1, 2, 8, 12)
    patch = x[0, :, 4:8, 4:8]  # second row, second column: token 4
    expected = layer.inward.weight.flatten(1) @ patch.flatten() + layer.inward.bias + layer.place[4]
    assert torch.allclose(layer(x)[0, 4], expected, atol=1e-5)


@pytest.mark.parametrize(
    "shape, patch",
    [
        ((1, 28, 28), 4),
        ((3, 32, 32), 4),
        ((1, 8, 8), 2),
        ((3, 64, 48), 8),
        ((1, 13, 13), 13),
        ((1, 13, 7), 1),
    ],
)
def test_patch_by_itself(shape, patch):
    built = vit(shape, 3)
    assert built[0].patch == patch
    assert built(torch.randn(2, *shape)).shape == (2, 3)


@pytest.mark.parametrize("name", ["resnet", "vit"])
def test_every_part_learns(name):
    torch.manual_seed(0)
    built = network(name, input_shape=(3, 16, 16), num_outputs=4)
    nn.functional.cross_entropy(built(torch.randn(8, 3, 16, 16)), torch.arange(8) % 4).backward()
    assert all(
        parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in built.parameters()
    )


@pytest.mark.parametrize(
    "name, shape, options, said",
    [
        ("resnet", (4,), {}, "expects images"),
        ("vit", (4,), {}, "expects images"),
        ("resnet", (1, 2, 2), {}, "cannot be halved 2 times"),
        ("resnet", (1, 8, 8), {"blocks": [1]}, "one for each of 3 widths"),
        ("resnet", (1, 8, 8), {"norm": "bach"}, "did you mean 'batch'"),
        ("resnet", (1, 8, 8), {"stochastic_depth": 1}, "`stochastic_depth` expects a share"),
        ("vit", (1, 28, 28), {"patch": 5}, "divides both sides"),
        ("vit", (1, 28, 28), {"width": 30}, "multiple of `heads`"),
        ("vit", (1, 28, 28), {"blocks": 0}, "`blocks` expects a whole number"),
    ],
)
def test_refusals(name, shape, options, said):
    with pytest.raises((NetworkError, UnknownNameError)) as caught:
        network(name, input_shape=shape, num_outputs=2, **options)
    assert said in str(caught.value)


def test_gradients_are_the_same_in_every_call():
    """A 1 x 1 convolution with stride 2, 4 channels, channels last, has other gradients from call to call (torch 2.13.0)."""
    x = torch.randn(64, 4, 8, 8, generator=torch.Generator().manual_seed(0)).contiguous(
        memory_format=torch.channels_last
    )
    found = set()
    for size in range(12):
        torch.manual_seed(0)
        block = ResidualBlock(4, 8, 2).to(memory_format=torch.channels_last)
        del [torch.full((97 * size + 13 * place + 1,), float("nan")) for place in range(50)][:]
        block(x).square().sum().backward()
        found.add(tuple(block.shortcut.weight.grad.flatten().tolist()))
    assert len(found) == 1
