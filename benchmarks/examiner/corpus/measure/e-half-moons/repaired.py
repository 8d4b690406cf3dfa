import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import make_moons

np.random.seed(0)
torch.manual_seed(0)

points, side = make_moons(n_samples=900, noise=0.15)
points = (points - points[:600].mean(axis=0)) / points[:600].std(axis=0)
x_train = torch.tensor(points[:600], dtype=torch.float32)
y_train = torch.tensor(side[:600], dtype=torch.long)
x_val = torch.tensor(points[600:], dtype=torch.float32)
y_val = torch.tensor(side[600:], dtype=torch.long)

model = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 2))
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)


def batches(x, y, size):
    order = np.random.permutation(len(x))
    for start in range(0, len(x), size):
        pick = torch.from_numpy(order[start:start + size])
        yield x[pick], y[pick]


epoch, accuracy = 0, 0.0
while epoch < 15 and accuracy < 0.985:
    model.train()
    for xb, yb in batches(x_train, y_train, 40):
        optimizer.zero_grad()
        out = model(xb)
        loss = criterion(out, yb)
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        accuracy = (model(x_val).argmax(1) == y_val).float().mean().item()
    epoch += 1
    print(f"{epoch:3d}  last loss {loss.item():.4f}  val acc {accuracy:.4f}")
