"""One-step forecasting with a small temporal convolutional network."""
import dataclasses
import typing as tp

import numpy as np
import torch
from torch import nn, optim
from torch.nn.utils import parametrizations


@dataclasses.dataclass
class Settings:
    window: int = 32
    channels: int = 24
    kernel: int = 3
    dilations: tp.Tuple[int, ...] = (1, 2, 4)
    lr: float = 2e-3
    batch: int = 64
    epochs: int = 5
    weight_norm: bool = True


class CausalConv(nn.Module):
    def __init__(self, cin: int, cout: int, kernel: int, dilation: int):
        super().__init__()
        self.pad = (kernel - 1) * dilation
        self.conv = nn.Conv1d(cin, cout, kernel, dilation=dilation)

    def forward(self, x):
        return self.conv(nn.functional.pad(x, (self.pad, 0)))


class TCN(nn.Module):
    def __init__(self, s: Settings):
        super().__init__()
        self.inlet = CausalConv(1, s.channels, 1, 1)
        self.layers = nn.ModuleList(CausalConv(s.channels, s.channels, s.kernel, d) for d in s.dilations)
        self.outlet = nn.Linear(s.channels, 1)

    def forward(self, x):
        h = torch.tanh(self.inlet(x.unsqueeze(1)))
        for layer in self.layers:
            h = h + torch.relu(layer(h))
        return self.outlet(h[:, :, -1]).squeeze(-1)


def add_weight_norm(module: nn.Module) -> None:
    for child in module.modules():
        if isinstance(child, nn.Conv1d):
            parametrizations.weight_norm(child)  # <-- here


class Trainer:
    def __init__(self, model: nn.Module, s: Settings):
        self.model, self.s = model, s
        self.optimizer = optim.Adam(self.model.parameters(), lr=s.lr)
        self.loss = nn.MSELoss()
        if s.weight_norm:
            add_weight_norm(self.model)

    def fit(self, x, y, x_val, y_val):
        for epoch in range(self.s.epochs):
            self.model.train()
            losses = []
            for idx in torch.randperm(len(x)).split(self.s.batch):
                self.optimizer.zero_grad()
                loss = self.loss(self.model(x[idx]), y[idx])
                loss.backward()
                self.optimizer.step()  # <-- here
                losses.append(loss.item())
            print(f"epoch {epoch}: train {np.mean(losses):.4f}  val {self.score(x_val, y_val):.4f}")

    @torch.inference_mode()
    def score(self, x, y):
        self.model.eval()
        return self.loss(self.model(x), y).item()


def windows(series: np.ndarray, size: int):
    x = np.lib.stride_tricks.sliding_window_view(series, size + 1)
    x = torch.tensor(x.copy(), dtype=torch.float32)
    return x[:, :-1], x[:, -1]


def main():
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    t = np.arange(2600)
    series = np.sin(2 * np.pi * t / 17) + 0.6 * np.sin(2 * np.pi * t / 41 + 1) + 0.15 * rng.standard_normal(t.size)
    series = (series - series[:2000].mean()) / series[:2000].std()
    s = Settings()
    train, val = windows(series[:2000], s.window), windows(series[2000:], s.window)
    trainer = Trainer(TCN(s), s)
    print("before:", round(trainer.score(*val), 4))
    trainer.fit(*train, *val)


if __name__ == "__main__":
    main()
