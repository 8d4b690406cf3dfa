import math
import torch
import torch.nn.functional as F
from torch import nn


class SineTasks:
    def __init__(self, seed):
        self.g = torch.Generator().manual_seed(seed)

    def sample(self, k=10):
        amp = 0.5 + 1.5 * torch.rand(1, generator=self.g)
        phase = math.pi * torch.rand(1, generator=self.g)
        x = 6 * torch.rand(2 * k, 1, generator=self.g) - 3
        y = amp * torch.sin(x + phase)
        return x[:k], y[:k], x[k:], y[k:]


class Learner(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(1, 40), nn.Linear(40, 40), nn.Linear(40, 1)])

    def forward(self, x, weights=None):
        weights = list(self.parameters()) if weights is None else weights
        for i in range(0, len(weights), 2):
            x = F.linear(x, weights[i], weights[i + 1])
            if i < len(weights) - 2:
                x = torch.relu(x)
        return x


def adapt(net, x, y, lr=0.03, steps=1, create_graph=True):
    fast = list(net.parameters())
    for _ in range(steps):
        loss = F.mse_loss(net(x, fast), y)
        grads = torch.autograd.grad(loss, fast, create_graph=create_graph)
        fast = [w - lr * g for w, g in zip(fast, grads)]
    return fast


def evaluate(net, tasks):
    before = after = 0.0
    for xs, ys, xq, yq in tasks:
        fast = adapt(net, xs, ys, steps=3, create_graph=False)
        with torch.no_grad():
            before += F.mse_loss(net(xq), yq).item()
            after += F.mse_loss(net(xq, fast), yq).item()
    return before / len(tasks), after / len(tasks)


torch.manual_seed(0)
train_tasks, eval_tasks = SineTasks(0), SineTasks(1)
held_out = [eval_tasks.sample() for _ in range(40)]
net = Learner()
meta_opt = torch.optim.Adam(net.parameters(), lr=3e-3)
meta_batch = 8
for it in range(1, 201):
    meta_opt.zero_grad()
    meta_loss = 0.0
    for _ in range(meta_batch):
        xs, ys, xq, yq = train_tasks.sample()
        fast = adapt(net, xs, ys)
        meta_loss = meta_loss + F.mse_loss(net(xq, fast), yq) / meta_batch
    meta_loss.backward()
    meta_opt.step()
    if it % 50 == 0:
        b, a = evaluate(net, held_out)
        print(f"iter {it}: meta loss {meta_loss.item():.3f} | held-out tasks before adaptation {b:.3f} after {a:.3f}")
