import csv
import os
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

LOOKBACK = 24

with open(os.path.join(os.environ["NETWRIGHT_DATA"], "ett", "ETTh1.csv")) as f:
    ot = np.array([float(row["OT"]) for row in csv.DictReader(f)], dtype=np.float32)[:4000]

split = 3200
mean, std = ot[:split].mean(), ot[:split].std()
series = (ot - mean) / std


def windows(s):
    X = np.stack([s[i:i + LOOKBACK] for i in range(len(s) - LOOKBACK)])
    return torch.from_numpy(X).unsqueeze(-1), torch.from_numpy(s[LOOKBACK:]).unsqueeze(-1)


train_X, train_y = windows(series[:split])
test_X, test_y = windows(series[split:])
# keep the temporal order
train_loader = DataLoader(TensorDataset(train_X, train_y), batch_size=64, shuffle=False)


class LSTMForecaster(nn.Module):
    def __init__(self, hidden_size=24):
        super().__init__()
        self.lstm = nn.LSTM(input_size=1, hidden_size=hidden_size, num_layers=1, batch_first=True)
        self.linear = nn.Linear(hidden_size, 1)

    def forward(self, x):
        out, _ = self.lstm(x)
        return self.linear(out[:, -1])


torch.manual_seed(0)
model = LSTMForecaster()
criterion = nn.MSELoss()
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)

with torch.no_grad():
    print("test mse of the training mean: %.4f, of persistence: %.4f" % ((test_y ** 2).mean(), criterion(test_X[:, -1], test_y)))
for epoch in range(6):
    model.train()
    total = 0.0
    for xb, yb in train_loader:
        optimizer.zero_grad()
        loss = criterion(model(xb), yb)
        loss.backward()
        optimizer.step()
        total += loss.item() * len(xb)
    model.eval()
    with torch.no_grad():
        test_mse = criterion(model(test_X), test_y).item()
    print(f"Epoch {epoch + 1}: train MSE {total / len(train_X):.4f} test MSE {test_mse:.4f}")
