from functools import partial
import torch
import torch.nn as nn
from sklearn.datasets import load_wine
from sklearn.model_selection import StratifiedShuffleSplit
from sklearn.preprocessing import StandardScaler

X, y = load_wine(return_X_y=True)
tr, te = next(StratifiedShuffleSplit(1, test_size=0.3, random_state=4).split(X, y))
scaler = StandardScaler().fit(X[tr])
Xtr, Xte = (torch.as_tensor(scaler.transform(X[i]), dtype=torch.float32) for i in (tr, te))
ytr, yte = torch.as_tensor(y[tr]), torch.as_tensor(y[te])

torch.manual_seed(4)


class Maxout(nn.Module):
    """k linear pieces per unit, the largest wins."""

    def __init__(self, d_in, d_out, pieces=3):
        super().__init__()
        self.lin = nn.Linear(d_in, d_out * pieces)
        self.d_out, self.pieces = d_out, pieces

    def forward(self, x):
        return self.lin(x).view(-1, self.d_out, self.pieces).amax(-1)


clf = nn.Sequential(Maxout(13, 16), nn.Linear(16, 3))
objective = nn.CrossEntropyLoss(label_smoothing=0.05)
solver = torch.optim.SGD(clf.parameters(), lr=0.05)


def closure(xb, yb):
    value = objective(clf(xb), yb)
    value.backward()  # <-- here
    return value


history = []
for epoch in range(20):
    epoch_loss, seen = 0.0, 0
    for rows in torch.randperm(len(Xtr)).split(16):
        value = solver.step(partial(closure, Xtr[rows], ytr[rows]))  # <-- here
        epoch_loss += value.item() * len(rows)
        seen += len(rows)
    history.append(epoch_loss / seen)
    if epoch % 4 == 3:
        clf.eval()
        with torch.no_grad():
            acc = (clf(Xte).argmax(1) == yte).double().mean()
        clf.train()
        print(f"epoch {epoch + 1:2d} | loss {history[-1]:.4f} | test accuracy {acc:.3f}")
print("first/last loss:", round(history[0], 4), round(history[-1], 4))
