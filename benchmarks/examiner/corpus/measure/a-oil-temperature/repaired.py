import csv
import os
from typing import List

import torch
from torch import Tensor, nn

WINDOW, HORIZON = 36, 6


def read_series(column: str, rows: int) -> Tensor:
    path = os.path.join(os.environ["NETWRIGHT_DATA"], "ett", "ETTh1.csv")
    values: List[float] = []
    with open(path, newline="") as f:
        for row in csv.DictReader(f):
            values.append(float(row[column]))
            if len(values) == rows:
                break
    return torch.tensor(values)


def windows(series: Tensor, stride: int):
    pieces = series.unfold(0, WINDOW + HORIZON, stride)
    return pieces[:, :WINDOW].unsqueeze(-1), pieces[:, -1]


class Forecaster(nn.Module):
    def __init__(self, hidden: int = 32) -> None:
        super().__init__()
        self.gru = nn.GRU(1, hidden, batch_first=True)
        self.head = nn.Linear(hidden, 1)

    def forward(self, x: Tensor) -> Tensor:
        _, last = self.gru(x)
        return self.head(last[-1]).squeeze(-1)


def main() -> None:
    torch.manual_seed(6)
    series = read_series("OT", 4000)
    train_part, test_part = series[:3200], series[3200:]
    mean, std = train_part.mean(), train_part.std()
    x_train, y_train = windows((train_part - mean) / std, stride=2)
    x_test, y_test = windows((test_part - mean) / std, stride=2)

    model = Forecaster()
    loss_fn = nn.MSELoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    naive = torch.mean((y_train.mean() - y_test).abs()) * std
    print(f"{len(x_train)} windows; predicting the mean is off by {naive:.2f} degrees")
    for epoch in range(1, 6):
        model.train()
        for idx in torch.randperm(len(x_train)).split(48):
            optimizer.zero_grad()
            loss = loss_fn(model(x_train[idx]), y_train[idx])
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            error = (model(x_test) - y_test).abs().mean() * std
        print(f"epoch {epoch}: loss {loss.item():.3f}, test error {error:.2f} degrees")


if __name__ == "__main__":
    main()
