import torch
import torch.nn as nn
from sklearn.datasets import make_circles
from sklearn.model_selection import train_test_split

torch.manual_seed(3)

X, y = make_circles(n_samples=2000, factor=0.45, noise=0.08, random_state=3)
X = torch.tensor(X / X.std(), dtype=torch.float32)
y = torch.tensor(y, dtype=torch.float32).unsqueeze(1)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.25, random_state=3, stratify=y)


class RingNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 24), nn.ReLU(), nn.Linear(24, 1))

    def forward(self, x):
        return self.net(x)


model = RingNet()
loss_fn = nn.BCEWithLogitsLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=0.02)

for epoch in range(1, 13):
    model.train()
    train_loss, hits = 0.0, 0
    for idx in torch.randperm(len(X_train)).split(30):
        logits = model(X_train[idx])
        loss = loss_fn(logits, y_train[idx])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        train_loss += loss.item() * len(idx)
        hits += ((logits > 0) == (y_train[idx] > 0.5)).sum().item()

    model.eval()
    with torch.inference_mode():
        test_logits = model(X_test)
        test_loss = loss_fn(test_logits, y_test).item()
        test_acc = ((test_logits > 0) == (y_test > 0.5)).float().mean().item()
    print(f"Epoch {epoch:2d} | loss {train_loss / len(X_train):.4f} acc {hits / len(X_train):.3f}"
          f" | test loss {test_loss:.4f} acc {test_acc:.3f}")
