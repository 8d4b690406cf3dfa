import numpy as np
import torch
import torch.nn as nn
from torch.nn.utils.parametrizations import weight_norm
from torch.utils.data import DataLoader, TensorDataset
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split

opts = {"lr": 4e-3, "epochs": 25, "bs": 32, "weight_norm": True, "seed": 0}


def load(seed):
    d = load_diabetes()
    X, y = d.data * np.sqrt(len(d.data)), d.target
    a, b, ya, yb = train_test_split(X, y, test_size=0.2, random_state=seed)
    mu, sd = ya.mean(), ya.std()
    pack = lambda X, y: TensorDataset(torch.tensor(X, dtype=torch.float32),
                                      torch.tensor((y - mu) / sd, dtype=torch.float32)[:, None])
    return pack(a, ya), pack(b, yb)


class Regressor(nn.Module):
    def __init__(self, d=10, h=24):
        super().__init__()
        self.inp = nn.Linear(d, h)
        self.mid = nn.Linear(h, h)
        self.out = nn.Linear(h, 1)

    def forward(self, x):
        x = torch.tanh(self.inp(x))
        x = torch.tanh(self.mid(x))
        return self.out(x)


def reparametrise(m):
    if isinstance(m, nn.Linear):
        weight_norm(m)


def r2(model, ds):
    model.eval()
    with torch.inference_mode():
        X, y = ds.tensors
        res = ((model(X) - y) ** 2).sum() / ((y - y.mean()) ** 2).sum()
    model.train()
    return 1 - res.item()


torch.manual_seed(opts["seed"])
train_ds, test_ds = load(opts["seed"])
loader = DataLoader(train_ds, batch_size=opts["bs"], shuffle=True)
model = Regressor()
optimizer = torch.optim.Adam(model.parameters(), lr=opts["lr"])  # <-- here
sched = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, opts["epochs"], eta_min=1e-4)
if opts["weight_norm"]:
    model.apply(reparametrise)  # <-- here
criterion = nn.SmoothL1Loss()

for epoch in range(opts["epochs"]):
    running = 0.0
    for xb, yb in loader:
        optimizer.zero_grad()
        loss = criterion(model(xb), yb)
        loss.backward()
        optimizer.step()
        running += loss.item() * len(xb)
    sched.step()
    if (epoch + 1) % 5 == 0:
        print(f"[{epoch + 1:3d}] loss={running / len(train_ds):.4f} r2(test)={r2(model, test_ds):.3f}")
