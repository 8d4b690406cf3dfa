"""ResNet-20 for CIFAR as its authors describe it: shortcuts without weights."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.functional import pad

from netwright.architectures.images import SpatialMean
from netwright.errors import NetworkError


class PaddedBlock(nn.Module):
    """Takes (N, inward, H, W) and gives (N, outward, H / stride, W / stride) float: two 3 x 3 convolutions beside a shortcut.

    Where the shape changes, the shortcut is every `stride`-th place, with channels of zeros on both sides (He et al. 2016, option A).
    """

    def __init__(self, inward: int, outward: int, stride: int) -> None:
        super().__init__()
        self.stride, self.added = stride, outward - inward
        self.conv1 = nn.Conv2d(inward, outward, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outward)
        self.conv2 = nn.Conv2d(outward, outward, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outward)

    def forward(self, x: Tensor) -> Tensor:
        branch = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
        beside = x[:, :, :: self.stride, :: self.stride]
        if self.added:
            beside = pad(beside, (0, 0, 0, 0, self.added // 2, self.added - self.added // 2))
        return (branch + beside).relu()


class CifarResNet(nn.Module):
    """Takes (N, 3, H, W) float and gives (N, num_outputs) float, logits. The names of its layers are those of published weights."""

    def __init__(self, num_outputs: int, blocks: int = 3) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1, self.layer2, self.layer3 = (
            nn.Sequential(
                *(
                    PaddedBlock(before if not place else width, width, 1 if place or width == 16 else 2)
                    for place in range(blocks)
                )
            )
            for before, width in ((16, 16), (16, 32), (32, 64))
        )
        self.mean = SpatialMean()
        self.linear = nn.Linear(64, num_outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn1(self.conv1(x)).relu()
        return self.linear(self.mean(self.layer3(self.layer2(self.layer1(x)))))


def cifar_resnet20(input_shape: Sequence[int], num_outputs: int) -> nn.Module:
    """Returns ResNet-20 for images of 32 x 32 (He et al. 2016, section 4.2, option A): 0.27 million parameters.

    It takes (N, 3, H, W) float and gives (N, num_outputs) float, logits. Raises NetworkError for other examples.

    >>> sum(weight.numel() for weight in cifar_resnet20((3, 32, 32), 10).parameters())
    269722
    """
    if len(input_shape) != 3 or input_shape[0] != 3 or min(input_shape[1:]) < 4:
        raise NetworkError(
            f"network 'cifar-resnet20' expects colour images (3, height, width), but one example has the shape {tuple(input_shape)}."
        )
    return CifarResNet(num_outputs)
