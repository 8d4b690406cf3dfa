import torch
import torch.nn as nn
from sklearn.datasets import make_moons

torch.manual_seed(3)
X, y = make_moons(n_samples=1200, noise=0.12, random_state=3)
X = torch.tensor(X, dtype=torch.float32)
y = torch.tensor(y, dtype=torch.float32)
X_train, y_train = X[:900], y[:900]
X_val, y_val = X[900:], y[900:]
mu, sd = X_train.mean(0), X_train.std(0)
X_train, X_val = (X_train - mu) / sd, (X_val - mu) / sd

clf = nn.Sequential(
    nn.Linear(2, 32),
    nn.ReLU(),
    nn.Linear(32, 16),
    nn.ReLU(),
    nn.Linear(16, 1),
)
bce = nn.BCEWithLogitsLoss()
opt = torch.optim.Adam(clf.parameters(), lr=0.01)

for epoch in range(15):
    clf.train()
    idx = torch.randperm(900)
    for b in range(0, 900, 60):
        rows = idx[b:b + 60]
        logits = clf(X_train[rows]).squeeze(1)
        loss = bce(logits, y_train[rows])
        opt.zero_grad()
        loss.backward()
        opt.step()
    clf.eval()
    with torch.no_grad():
        logits = clf(X_val).squeeze(1)
        val_loss = bce(logits, y_val).item()
        val_acc = ((logits > 0).float() == y_val).float().mean().item()
    print(f"epoch {epoch:2d} val loss {val_loss:.4f} val acc {val_acc:.3f}")
