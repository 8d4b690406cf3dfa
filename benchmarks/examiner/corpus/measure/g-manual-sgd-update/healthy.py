import math
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits

torch.manual_seed(0)
data = load_digits()
x = torch.tensor(data.data / 16.0, dtype=torch.float32)
y = torch.tensor(data.target)
order = torch.randperm(len(x))
x, y = x[order], y[order]
x_train, y_train, x_valid, y_valid = x[:1437], y[:1437], x[1437:], y[1437:]

w1 = torch.randn(64, 50) / math.sqrt(64)
w1.requires_grad_()
b1 = torch.zeros(50, requires_grad=True)
w2 = torch.randn(50, 10) / math.sqrt(50)
w2.requires_grad_()
b2 = torch.zeros(10, requires_grad=True)


def model(xb):
    return (xb @ w1 + b1).relu() @ w2 + b2


def accuracy(out, yb):
    return (out.argmax(dim=1) == yb).float().mean()


bs, lr, n = 32, 0.2, len(x_train)
for epoch in range(10):
    perm = torch.randperm(n)
    for i in range((n - 1) // bs + 1):
        sel = perm[i * bs:(i + 1) * bs]
        pred = model(x_train[sel])
        loss = F.cross_entropy(pred, y_train[sel])
        loss.backward()
        with torch.no_grad():
            for p in (w1, b1, w2, b2):
                p -= p.grad * lr
                p.grad.zero_()
    with torch.no_grad():
        out = model(x_valid)
        print(epoch, "%.4f" % F.cross_entropy(out, y_valid).item(), "%.4f" % accuracy(out, y_valid).item())
