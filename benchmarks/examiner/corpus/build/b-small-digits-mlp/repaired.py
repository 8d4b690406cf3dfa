import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from sklearn.datasets import load_digits

rng = np.random.default_rng(2024)
torch.manual_seed(2024)

data = load_digits()
X = (data.data / 16.0).astype(np.float32)
y = data.target.astype(np.int64)

order = rng.permutation(len(X))
X, y = X[order], y[order]

split = 1400
train_ds = TensorDataset(torch.from_numpy(X[:split]), torch.from_numpy(y[:split]))
valid_ds = TensorDataset(torch.from_numpy(X[split:]), torch.from_numpy(y[split:]))
train_dl = DataLoader(train_ds, batch_size=40, shuffle=True)
valid_dl = DataLoader(valid_ds, batch_size=100)


class MLP(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(64, 48), nn.Tanh(), nn.Linear(48, 10))

    def forward(self, x):
        return self.layers(x)


mlp = MLP()
objective = nn.CrossEntropyLoss()
optim = torch.optim.Adam(mlp.parameters(), lr=3e-3)

for epoch in range(8):
    mlp.train()
    train_loss = 0.0
    for xb, yb in train_dl:
        loss = objective(mlp(xb), yb)
        optim.zero_grad()
        loss.backward()
        optim.step()
        train_loss += loss.item() * len(xb)
    mlp.eval()
    with torch.no_grad():
        hits = sum((mlp(xb).argmax(1) == yb).sum().item() for xb, yb in valid_dl)
    print(f"{epoch:02d} train_loss={train_loss / len(train_ds):.3f} valid_acc={hits / len(valid_ds):.3f}")
