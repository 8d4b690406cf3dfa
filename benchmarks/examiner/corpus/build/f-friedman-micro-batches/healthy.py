from itertools import islice

import torch
from torch import nn
from sklearn.datasets import make_friedman1
from sklearn.preprocessing import StandardScaler


def stream(x, y, size, generator):
    while True:
        order = torch.randperm(len(x), generator=generator)
        for i in range(0, len(x), size):
            yield x[order[i:i + size]], y[order[i:i + size]]


def r2(model, x, y):
    model.eval()
    with torch.no_grad():
        resid = ((model(x).squeeze(-1) - y) ** 2).sum()
    return (1 - resid / ((y - y.mean()) ** 2).sum()).item()


gen = torch.Generator().manual_seed(14)
torch.manual_seed(14)
X, t = make_friedman1(n_samples=1500, noise=0.5, random_state=14)
sx, sy = StandardScaler().fit(X[:1200]), StandardScaler().fit(t[:1200, None])
X = torch.tensor(sx.transform(X), dtype=torch.float32)
t = torch.tensor(sy.transform(t[:, None])[:, 0], dtype=torch.float32)

model = nn.Sequential(nn.Linear(10, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
criterion = nn.MSELoss()
ACCUMULATE = 4

optimizer.zero_grad()
micro = stream(X[:1200], t[:1200], 16, gen)
for i, (xb, yb) in enumerate(islice(micro, 800), start=1):
    model.train()
    loss = criterion(model(xb).squeeze(-1), yb) / ACCUMULATE
    loss.backward()
    if i % ACCUMULATE == 0:
        optimizer.step()
        optimizer.zero_grad()
    if i % 160 == 0:
        print(f"micro-batch {i}: loss {loss.item() * ACCUMULATE:.4f} R2 on held-out {r2(model, X[1200:], t[1200:]):.3f}")
