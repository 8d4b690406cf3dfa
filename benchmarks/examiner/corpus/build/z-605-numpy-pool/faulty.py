import copy

import numpy as np
import torch
import torch.nn as nn

hp = {"length": 96, "classes": 4, "filters": 24, "top": 4, "lr": 3e-3, "batch": 32, "max_epochs": 10, "patience": 3}


def synth(n, rng):
    """Four shapes of a short pulse, somewhere in a noisy signal."""
    t = np.linspace(-1, 1, 16)
    shapes = np.stack([np.exp(-8 * t**2), np.sign(t) * np.exp(-4 * t**2), np.sin(6 * np.pi * t), np.abs(t) - 0.5])
    shapes = shapes / shapes.std(1, keepdims=True)
    y = rng.integers(0, hp["classes"], n)
    x = rng.standard_normal((n, hp["length"])) * 0.5
    for row, label in zip(x, y):
        p = rng.integers(0, hp["length"] - 16)
        row[p:p + 16] += shapes[label]
    return torch.tensor(x, dtype=torch.float32).unsqueeze(1), torch.tensor(y)


class TopKPool(nn.Module):
    """Mean of the k largest activations over time, for every channel."""

    def __init__(self, k):
        super().__init__()
        self.k = k

    def forward(self, x):
        values = np.sort(x.detach().numpy(), axis=-1)[..., -self.k:]  # <-- here
        return torch.from_numpy(values.mean(axis=-1))  # <-- here


class PulseNet(nn.Module):
    def __init__(self, filters, k, classes):
        super().__init__()
        self.conv1 = nn.Conv1d(1, filters, 9, padding=4)
        self.conv2 = nn.Conv1d(filters, filters, 9, padding=4)
        self.pool = TopKPool(k)
        self.fc = nn.Linear(filters, classes)

    def forward(self, x):
        x = torch.relu(self.conv1(x))
        x = torch.relu(self.conv2(x))
        return self.fc(self.pool(x))


def score(net, x, y, loss_fn):
    net.eval()
    with torch.no_grad():
        out = net(x)
    return loss_fn(out, y).item(), (out.argmax(1) == y).float().mean().item()


torch.manual_seed(8)
rng = np.random.default_rng(8)
x_tr, y_tr = synth(1400, rng)
x_va, y_va = synth(300, rng)
x_te, y_te = synth(400, rng)

net = PulseNet(hp["filters"], hp["top"], hp["classes"])
loss_fn = nn.CrossEntropyLoss()
opt = torch.optim.Adam(net.parameters(), lr=hp["lr"])

best_loss, best_state, bad = float("inf"), None, 0
for epoch in range(hp["max_epochs"]):
    net.train()
    perm = torch.randperm(len(x_tr))
    for i in range(0, len(perm), hp["batch"]):
        pick = perm[i:i + hp["batch"]]
        loss = loss_fn(net(x_tr[pick]), y_tr[pick])
        opt.zero_grad()
        loss.backward()
        opt.step()
    va_loss, va_acc = score(net, x_va, y_va, loss_fn)
    print(f"epoch {epoch}: last batch {loss.item():.3f}  val {va_loss:.3f} / {va_acc:.3f}")
    if va_loss < best_loss:
        best_loss, best_state, bad = va_loss, copy.deepcopy(net.state_dict()), 0
    else:
        bad += 1
        if bad == hp["patience"]:
            break

net.load_state_dict(best_state)
print("test loss %.3f  accuracy %.3f" % score(net, x_te, y_te, loss_fn))
