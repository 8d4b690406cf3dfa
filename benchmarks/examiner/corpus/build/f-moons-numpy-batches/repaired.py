import numpy as np
import torch
from sklearn.datasets import make_moons
from torch import nn

SEED = 7
torch.manual_seed(SEED)
np.random.seed(SEED)

points, labels = make_moons(1200, noise=0.2, random_state=SEED)
order = np.random.permutation(len(points))
train_idx, test_idx = order[:900], order[900:]

x = torch.as_tensor(points, dtype=torch.float32)
y = torch.as_tensor(labels)

mlp = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 2))
adam = torch.optim.Adam(mlp.parameters(), lr=5e-3)

step = 0
while step < 300:
    np.random.shuffle(train_idx)
    for part in np.array_split(train_idx, 20):
        adam.zero_grad()
        loss = nn.functional.cross_entropy(mlp(x[part]), y[part])
        loss.backward()
        adam.step()
        step += 1
    if step % 60 == 0:
        with torch.no_grad():
            hit = (mlp(x[test_idx]).argmax(1) == y[test_idx]).float().mean()
        print(f"{step:4d} {loss.item():.4f} {hit.item():.4f}")
