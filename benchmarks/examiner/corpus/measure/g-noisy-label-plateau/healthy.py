import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

# Crowd-sourced labels: one in five annotators' answers is wrong, so about 0.8
# accuracy on equally noisy held-out labels is all there is to get.
rng = np.random.default_rng(31)
torch.manual_seed(31)

n, d, n_classes = 5000, 12, 4
centres = rng.normal(size=(n_classes, d)) * 1.6
true = rng.integers(0, n_classes, n)
X = (centres[true] + rng.normal(size=(n, d))).astype(np.float32)
flip = rng.random(n) < 0.2
given = np.where(flip, (true + rng.integers(1, n_classes, n)) % n_classes, true)
X, given, true = torch.from_numpy((X - X[:4000].mean(0)) / X[:4000].std(0)), torch.from_numpy(given), torch.from_numpy(true)

net = nn.Sequential(nn.Linear(d, 24), nn.ReLU(), nn.Linear(24, n_classes))
opt = torch.optim.SGD(net.parameters(), lr=0.1, weight_decay=1e-3)

for epoch in range(1, 11):
    net.train()
    perm = torch.randperm(4000)
    total = 0.0
    for j in range(0, 4000, 80):
        rows = perm[j:j + 80]
        opt.zero_grad()
        loss = F.cross_entropy(net(X[rows]), given[rows])
        loss.backward()
        opt.step()
        total += loss.item() * len(rows)
    net.eval()
    with torch.no_grad():
        pred = net(X[4000:]).argmax(1)
    noisy_acc = (pred == given[4000:]).float().mean().item()
    clean_acc = (pred == true[4000:]).float().mean().item()
    print(f"epoch {epoch:2d} loss {total / 4000:.4f} acc on given labels {noisy_acc:.3f}, on true labels {clean_acc:.3f}")
