"""Networks of the kinds that people write."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional


class Block(nn.Module):
    """A residual block that uses one ReLU twice, in place, as torchvision's does."""

    def __init__(self, taken: int, given: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(taken, given, 3, stride, 1, bias=False), nn.BatchNorm2d(given)
        self.conv2, self.bn2 = nn.Conv2d(given, given, 3, 1, 1, bias=False), nn.BatchNorm2d(given)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride > 1:
            self.downsample = nn.Sequential(
                nn.Conv2d(taken, given, 1, stride, bias=False), nn.BatchNorm2d(given)
            )

    def forward(self, x: Tensor) -> Tensor:
        kept = x if self.downsample is None else self.downsample(x)
        x = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        x += kept
        return self.relu(x)


class ResNet18(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        self.relu, self.maxpool = nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)
        self.layer1 = nn.Sequential(Block(64, 64), Block(64, 64))
        self.layer2 = nn.Sequential(Block(64, 128, 2), Block(128, 128))
        self.layer3 = nn.Sequential(Block(128, 256, 2), Block(256, 256))
        self.layer4 = nn.Sequential(Block(256, 512, 2), Block(512, 512))
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(512, 1000)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(torch.flatten(self.avgpool(x), 1))


class Sequence(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(100, 16)
        self.lstm = nn.LSTM(16, 32, 2, batch_first=True, bidirectional=True)
        self.out = nn.Linear(64, 5)

    def forward(self, tokens: Tensor) -> Tensor:
        states, _ = self.lstm(self.embedding(tokens))
        return self.out(states[:, -1])


class Attentive(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(100, 16)
        self.position = nn.Parameter(torch.zeros(1, 12, 16))
        layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 6)
        self.out = nn.Linear(16, 5)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens) + self.position[:, : tokens.shape[1]]
        return self.out(self.encoder(x).mean(1))


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(8, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return functional.log_softmax(self.second(functional.relu(self.first(x))), dim=1)


class TwoInputs(nn.Module):
    """One ReLU for three places, two inputs by name, a layer that is never called."""

    def __init__(self) -> None:
        super().__init__()
        self.act, self.never = nn.ReLU(), nn.Linear(3, 3)
        self.a, self.b, self.c = nn.Linear(4, 8), nn.Linear(6, 8), nn.Linear(16, 2)

    def forward(self, picture: Tensor, row: Tensor) -> Tensor:
        return self.act(self.c(torch.cat([self.act(self.a(picture)), self.act(self.b(row))], 1)))


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()

        def double(taken: int, given: int) -> nn.Sequential:
            second = nn.Conv2d(given, given, 3, padding=1)
            return nn.Sequential(nn.Conv2d(taken, given, 3, padding=1), nn.ReLU(), second, nn.ReLU())

        self.down1, self.down2, self.bottom, self.pool = (
            double(1, 4),
            double(4, 8),
            double(8, 16),
            nn.MaxPool2d(2),
        )
        self.up2, self.join2 = nn.ConvTranspose2d(16, 8, 2, 2), double(16, 8)
        self.up1, self.join1 = nn.ConvTranspose2d(8, 4, 2, 2), double(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        a = self.down1(x)
        b = self.down2(self.pool(a))
        y = self.join2(torch.cat([self.up2(self.bottom(self.pool(b))), b], 1))
        return self.join1(torch.cat([self.up1(y), a], 1))


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.out = nn.Embedding(10, 4), nn.Linear(4, 10, bias=False)
        self.out.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.out(self.embedding(tokens))


def _made() -> dict[str, tuple[Callable[[], nn.Module], Callable[[], Any]]]:
    def tokens() -> Tensor:
        return torch.arange(12).remainder(100)[None]

    def mlp() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 10))

    return {
        "mlp": (mlp, lambda: torch.randn(2, 1, 8, 8)),
        "resnet": (ResNet18, lambda: torch.randn(1, 3, 32, 32)),
        "lstm": (Sequence, tokens),
        "transformer": (Attentive, tokens),
        "functional": (Functional, lambda: torch.randn(2, 8)),
        "two": (TwoInputs, lambda: {"picture": torch.randn(2, 4), "row": torch.randn(2, 6)}),
        "unet": (UNet, lambda: torch.randn(1, 1, 16, 16)),
        "tied": (Tied, lambda: torch.arange(4)[None]),
    }


@pytest.fixture
def made() -> Callable[[str], tuple[nn.Module, Any]]:
    """Returns a network by its kind, in training mode, and a batch for it."""

    def make(kind: str) -> tuple[nn.Module, Any]:
        torch.manual_seed(0)
        network, batch = _made()[kind]
        return network(), batch()

    return make


@pytest.fixture(params=list(_made()))
def kind(request: pytest.FixtureRequest) -> str:
    return request.param
