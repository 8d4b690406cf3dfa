from __future__ import annotations

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F


def simulate(days: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Hourly rentals of a small bike station."""
    hours = np.arange(days * 24)
    hour, weekday = hours % 24, (hours // 24) % 7
    temperature = 12 + 8 * np.sin(2 * np.pi * hours / (24 * 90)) + 4 * np.sin(2 * np.pi * (hour - 9) / 24) \
        + rng.normal(0, 2, len(hours))
    rush = np.exp(-0.5 * ((hour - 8) / 2.0) ** 2) + np.exp(-0.5 * ((hour - 18) / 2.5) ** 2)
    rate = 1.5 + 30 * rush * np.where(weekday < 5, 1.0, 0.4) * (1 + 0.04 * (temperature - 12))
    count = rng.poisson(np.clip(rate, 0.1, None))
    features = np.stack([
        np.sin(2 * np.pi * hour / 24), np.cos(2 * np.pi * hour / 24),
        np.sin(4 * np.pi * hour / 24), np.cos(4 * np.pi * hour / 24),
        (weekday < 5).astype(float), (temperature - 12) / 8,
    ], axis=1)
    return features.astype(np.float32), count


class DemandNet(nn.Module):
    def __init__(self, inputs: int, width: int = 48) -> None:
        super().__init__()
        self.hidden = nn.Linear(inputs, width)
        self.middle = nn.Linear(width, width)
        self.out = nn.Linear(width, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.silu(self.hidden(x))
        x = F.silu(self.middle(x))
        return self.out(x).squeeze(-1)


def error(model: DemandNet, x: torch.Tensor, y: torch.Tensor) -> float:
    model.eval()
    with torch.inference_mode():
        return F.mse_loss(model(x), y).item()


def main() -> None:
    torch.manual_seed(11)
    features, count = simulate(150, np.random.default_rng(11))
    target = np.log(count).astype(np.float32)  # <-- here
    x, y = torch.from_numpy(features), torch.from_numpy(target)
    cut = 120 * 24
    x_train, y_train, x_test, y_test = x[:cut], y[:cut], x[cut:], y[cut:]

    model = DemandNet(x.shape[1])
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    step = 0
    while step < 400:
        model.train()
        batch = torch.randint(0, cut, (64,))
        loss = F.mse_loss(model(x_train[batch]), y_train[batch])  # <-- here
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step += 1
        if step % 80 == 0:
            print(f"step {step}: batch loss {loss.item():.3f}, test mse {error(model, x_test, y_test):.3f}")


if __name__ == "__main__":
    main()
