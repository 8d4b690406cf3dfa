import torch
from sklearn.datasets import load_digits
from sklearn.utils import shuffle
from torch import nn


def batches(X, y, size, mix=False):
    order = torch.randperm(len(X)) if mix else torch.arange(len(X))
    for start in range(0, len(X), size):
        chosen = order[start:start + size]
        yield X[chosen], y[chosen]


class Net(nn.Module):
    def __init__(self, sizes):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(sizes[:-1], sizes[1:]))

    def forward(self, x):
        for layer in self.layers[:-1]:
            x = torch.tanh(layer(x))
        return self.layers[-1](x)


def score(model, X, y, size):
    model.eval()
    accs, counts = [], []
    with torch.no_grad():
        for xb, yb in batches(X, y, size):
            accs.append((model(xb).argmax(1) == yb).float().mean().item())
            counts.append(len(yb))
    return sum(a * n for a, n in zip(accs, counts)) / sum(counts)


torch.manual_seed(2)
data, target = shuffle(*load_digits(return_X_y=True), random_state=2)
data = torch.tensor(data, dtype=torch.float32) / 8 - 1
target = torch.tensor(target)
X_train, y_train = data[:1400], target[:1400]
X_valid, y_valid = data[1400:], target[1400:]

model = Net([64, 48, 10])
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
objective = nn.CrossEntropyLoss()

for epoch in range(6):
    model.train()
    for xb, yb in batches(X_train, y_train, 56, mix=True):
        optimizer.zero_grad()
        objective(model(xb), yb).backward()
        optimizer.step()
    print("epoch", epoch, "validation accuracy", score(model, X_valid, y_valid, 56))
