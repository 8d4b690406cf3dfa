import random
import time

import torch
import torch.nn as nn


class AverageMeter:
    def __init__(self):
        self.sum = 0.0
        self.count = 0

    def update(self, val, n=1):
        self.sum += val * n
        self.count += n

    @property
    def avg(self):
        return self.sum / max(self.count, 1)


def random_graph(kind, n=12, rng=random):
    """kind 0: ring with chords; kind 1: two communities; kind 2: star-like hub."""
    A = torch.zeros(n, n)
    if kind == 0:
        for i in range(n):
            A[i, (i + 1) % n] = 1
        for _ in range(2):
            a, b = rng.sample(range(n), 2)
            A[a, b] = 1
    elif kind == 1:
        for i in range(n):
            for j in range(i + 1, n):
                same = (i < n // 2) == (j < n // 2)
                A[i, j] = float(rng.random() < (0.6 if same else 0.05))
    else:
        for i in range(1, n):
            A[0, i] = 1
        for _ in range(3):
            a, b = rng.sample(range(1, n), 2)
            A[a, b] = 1
    A = ((A + A.t()) > 0).float()
    perm = torch.tensor(rng.sample(range(n), n))
    return A[perm][:, perm]


def build(n_graphs, rng):
    adj, label = [], []
    for _ in range(n_graphs):
        k = rng.randrange(3)
        adj.append(random_graph(k, rng=rng))
        label.append(k)
    A = torch.stack(adj)
    deg = A.sum(-1, keepdim=True)
    feats = torch.cat([deg / 4 - 1, (A @ deg) / 16 - 1, torch.randn(A.shape[0], A.shape[1], 2)], dim=-1)
    return A, feats, torch.tensor(label)


class GraphConv(nn.Module):
    def __init__(self, cin, cout):
        super().__init__()
        self.lin = nn.Linear(cin, cout)
        self.self_lin = nn.Linear(cin, cout, bias=False)

    def forward(self, x, A):
        neigh = A @ x / A.sum(-1, keepdim=True).clamp(min=1)
        return torch.relu(self.lin(neigh) + self.self_lin(x))


class GraphClassifier(nn.Module):
    def __init__(self, cin=4, hidden=32, classes=3):
        super().__init__()
        self.gc1 = GraphConv(cin, hidden)
        self.gc2 = GraphConv(hidden, hidden)
        self.readout = nn.Linear(2 * hidden, classes)

    def forward(self, A, x):
        h = self.gc2(self.gc1(x, A), A)
        return self.readout(torch.cat([h.mean(1), h.amax(1)], dim=-1))


def train(data, model, criterion, optimizer, epoch, batch_size=20):
    losses, started = AverageMeter(), time.time()
    A, x, y = data
    model.train()
    optimizer.zero_grad()
    for i, idx in enumerate(torch.randperm(len(y)).split(batch_size)):
        output = model(A[idx], x[idx])
        loss = criterion(output, y[idx])
        loss.backward()  # <-- here
        optimizer.step()  # <-- here
        losses.update(loss.item(), len(idx))
        if i % 20 == 0:
            print(f"Epoch: [{epoch}][{i}]\tLoss {loss.item():.4f} ({losses.avg:.4f})")
    return losses.avg


def validate(data, model, criterion):
    A, x, y = data
    model.eval()
    with torch.no_grad():
        output = model(A, x)
        return criterion(output, y).item(), (output.argmax(1) == y).float().mean().item()


def main():
    torch.manual_seed(5)
    rng = random.Random(5)
    train_set, val_set = build(700, rng), build(200, rng)
    model = GraphClassifier()
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    best = 0.0
    for epoch in range(4):
        train(train_set, model, criterion, optimizer, epoch)
        val_loss, acc = validate(val_set, model, criterion)
        best = max(best, acc)
        print(f" * epoch {epoch} val loss {val_loss:.4f} acc {acc:.3f} best {best:.3f}")


if __name__ == "__main__":
    main()
