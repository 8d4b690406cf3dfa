"""Supervised contrastive features, then a graph layer over all samples.

Stage A: every anchor is compared with all other views of the batch (the batch
is the set of negatives).  Stage B: the features of all samples, labelled or
not, form one k-NN graph; a softmax regression on smoothed features is fitted to
the labelled nodes only and scored on the others.
"""
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn

CONFIG = dict(
    contrast=dict(steps=120, batch=48, lr=2e-3, tau=0.3),
    graph=dict(k=8, hops=1, steps=100, lr=0.05),
    labelled=1100,
)


def digits():
    bunch = load_digits()
    x = torch.tensor(bunch.images, dtype=torch.float32).div(8.0).sub(0.6).unsqueeze(1)
    return x, torch.tensor(bunch.target)


def jitter(x):
    """One random view: shift by at most a pixel, rescale the ink, add noise."""
    dy, dx = torch.randint(-1, 2, (2,)).tolist()
    moved = torch.roll(x, shifts=(dy, dx), dims=(2, 3))
    gain = 0.8 + 0.4 * torch.rand(len(x), 1, 1, 1)
    return moved * gain + 0.1 * torch.randn_like(x)


class Encoder(nn.Module):
    def __init__(self, dim=32):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
        )
        self.projector = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, dim))

    def features(self, x):
        return self.conv(x).mean(dim=(2, 3))

    def forward(self, x):
        return F.normalize(self.projector(self.features(x)), dim=1)


class SupCon(nn.Module):
    def __init__(self, tau):
        super().__init__()
        self.tau = tau

    def forward(self, z, y):
        similarity = z @ z.t() / self.tau
        itself = torch.eye(len(z), dtype=torch.bool)
        log_share = similarity - similarity.masked_fill(itself, float("-inf")).logsumexp(dim=1, keepdim=True)
        friends = (y[:, None] == y[None, :]) & ~itself
        per_anchor = (log_share * friends).sum(1) / friends.sum(1)
        return -per_anchor.mean()


class PropagationProbe(nn.Module):
    """Softmax regression on graph-smoothed features; convex, so it starts at zero."""

    def __init__(self, n_in, n_out, hops):
        super().__init__()
        self.hops = hops
        self.weight = nn.Parameter(torch.zeros(n_in, n_out))
        self.bias = nn.Parameter(torch.zeros(n_out))

    def forward(self, nodes, walk):
        for _ in range(self.hops):
            nodes = walk @ nodes
        return nodes @ self.weight + self.bias


def knn_walk(nodes, k):
    """Row-normalised adjacency of the symmetric k-NN graph with self loops."""
    unit = F.normalize(nodes, dim=1)
    nearest = (unit @ unit.t()).topk(k + 1, dim=1).indices
    adjacency = torch.zeros(len(nodes), len(nodes)).scatter_(1, nearest, 1.0)
    adjacency = torch.maximum(adjacency, adjacency.t())
    adjacency.fill_diagonal_(1.0)
    return adjacency / adjacency.sum(dim=1, keepdim=True)


def contrastive_stage(encoder, x, y, steps, batch, lr, tau):
    encoder.train()
    criterion = SupCon(tau)
    optimizer = torch.optim.Adam(encoder.parameters(), lr=lr)
    pool, step = torch.empty(0, dtype=torch.long), 0
    while step < steps:
        if len(pool) < batch:
            pool = torch.randperm(len(x))
        pick, pool = pool[:batch], pool[batch:]
        views = torch.cat([jitter(x[pick]), jitter(x[pick])])
        loss = criterion(encoder(views), y[pick].repeat(2))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step += 1
        if step % 30 == 0:
            print(f"contrast {step:4d}  loss {loss.item():.4f}")


def probe_stage(nodes, y, labelled, unlabelled, k, hops, steps, lr):
    walk = knn_walk(nodes, k)
    centred = (nodes - nodes[labelled].mean(0)) / (nodes[labelled].std(0) + 1e-3)
    probe = PropagationProbe(nodes.size(1), 10, hops)
    optimizer = torch.optim.Adam(probe.parameters(), lr=lr)
    for step in range(1, steps + 1):
        optimizer.zero_grad()
        loss = F.cross_entropy(probe(centred, walk)[labelled], y[labelled])
        loss.backward()
        optimizer.step()
        if step % 25 == 0:
            with torch.no_grad():
                guess = probe(centred, walk)[unlabelled].argmax(1)
            share = (guess == y[unlabelled]).float().mean().item()
            print(f"probe {step:4d}  loss {loss.item():.4f}  accuracy on unlabelled nodes {share:.4f}")


def main():
    torch.manual_seed(16)
    x, y = digits()
    order = torch.randperm(len(x))
    labelled, unlabelled = order[:CONFIG["labelled"]], order[CONFIG["labelled"]:]
    encoder = Encoder()
    contrastive_stage(encoder, x[labelled], y[labelled], **CONFIG["contrast"])
    encoder.eval()
    with torch.no_grad():
        nodes = torch.cat([encoder.features(part) for part in x.split(256)])
    probe_stage(nodes, y, labelled, unlabelled, **CONFIG["graph"])


if __name__ == "__main__":
    main()
