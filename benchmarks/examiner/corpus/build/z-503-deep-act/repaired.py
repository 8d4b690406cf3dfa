from dataclasses import dataclass
from typing import Type

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset


@dataclass(frozen=True)
class NetSpec:
    inputs: int = 64
    outputs: int = 10
    width: int = 64
    depth: int = 9
    activation: Type[nn.Module] = nn.Tanh


def build(spec: NetSpec) -> nn.Sequential:
    sizes = [spec.inputs] + [spec.width] * spec.depth
    layers = []
    for a, b in zip(sizes, sizes[1:]):
        layers += [nn.Linear(a, b), spec.activation()]
    layers.append(nn.Linear(spec.width, spec.outputs))
    net = nn.Sequential(*layers)
    for m in net:
        if isinstance(m, nn.Linear):
            nn.init.xavier_normal_(m.weight)
            nn.init.zeros_(m.bias)
    return net


def gradient_report(net: nn.Sequential) -> str:
    norms = [m.weight.grad.norm().item() for m in net if isinstance(m, nn.Linear)]
    return " ".join(f"{v:.0e}" for v in norms)


def digits(batch: int):
    X, y = load_digits(return_X_y=True)
    a, b, ya, yb = train_test_split(X / 8.0 - 1.0, y, test_size=0.2, random_state=0, stratify=y)
    make = lambda u, v: TensorDataset(torch.tensor(u, dtype=torch.float32), torch.tensor(v))
    return DataLoader(make(a, ya), batch_size=batch, shuffle=True), DataLoader(make(b, yb), batch_size=360)


def main(epochs: int = 8) -> None:
    torch.manual_seed(0)
    train, test = digits(32)
    net = build(NetSpec())
    criterion = nn.CrossEntropyLoss()
    optimizer = optim.SGD(net.parameters(), lr=0.02, momentum=0.9)
    for epoch in range(1, epochs + 1):
        net.train()
        total = 0.0
        for x, y in train:
            optimizer.zero_grad()
            loss = criterion(net(x), y)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(x)
        report = gradient_report(net)
        net.eval()
        with torch.no_grad():
            correct = sum((net(x).argmax(1) == y).sum().item() for x, y in test)
        print(f"[{epoch}] loss {total / len(train.dataset):.3f} test {correct / len(test.dataset):.3f} grads {report}")


if __name__ == "__main__":
    main()
