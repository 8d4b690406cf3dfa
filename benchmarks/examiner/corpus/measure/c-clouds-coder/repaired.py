import torch
import torch.nn as nn
from sklearn.datasets import make_blobs
from sklearn.model_selection import train_test_split


class SparseCoder(nn.Module):
    def __init__(self, n_inputs, n_hidden, n_classes, start=0.0):
        super().__init__()
        self.start = start
        self.code1 = nn.Linear(n_inputs, n_hidden)
        self.code2 = nn.Linear(n_hidden, n_hidden)
        self.readout = nn.Linear(n_hidden, n_classes)
        self.reset_parameters()

    def reset_parameters(self):
        for layer in (self.code1, self.code2):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.constant_(layer.bias, self.start)

    def forward(self, x):
        x = self.code1(x).relu()
        x = self.code2(x).relu()
        return self.readout(x)


def prepare():
    X, y = make_blobs(n_samples=2000, n_features=20, centers=16, cluster_std=5.0, random_state=5)
    y = y % 8   # two clouds a class
    X_tr, X_te, y_tr, y_te = train_test_split(X, y, test_size=0.2, random_state=5)
    m, s = X_tr.mean(0), X_tr.std(0)
    as_x = lambda a: torch.tensor((a - m) / s, dtype=torch.float32)
    return as_x(X_tr), torch.tensor(y_tr), as_x(X_te), torch.tensor(y_te)


def fit(coder, X, y, steps, rng):
    sgd = torch.optim.SGD(coder.parameters(), lr=0.05, momentum=0.5)
    loss_fn = nn.CrossEntropyLoss()
    step = 0
    while True:
        for rows in torch.randperm(len(X), generator=rng).split(50):
            loss = loss_fn(coder(X[rows]), y[rows])
            sgd.zero_grad()
            loss.backward()
            sgd.step()
            step += 1
            if step % 64 == 0:
                print("step", step, "loss", round(loss.item(), 4))
            if step == steps:
                return


X_tr, y_tr, X_te, y_te = prepare()
torch.manual_seed(5)
coder = SparseCoder(20, 64, 8)
fit(coder, X_tr, y_tr, steps=320, rng=torch.Generator().manual_seed(5))
with torch.no_grad():
    acc = (coder(X_te).argmax(-1) == y_te).float().mean().item()
print("held-out accuracy", round(acc, 3))
