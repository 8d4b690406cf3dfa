import copy
import math
from functools import partial

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn, optim
from torch.nn import functional as F

settings = {
    "encoder": {"width": 24, "dim": 48},
    "projector": {"hidden": 64, "dim": 24},
    "pretrain": {"epochs": 5, "batch": 64, "lr": 2e-3, "tau": 0.97},
    "probe": {"epochs": 12, "batch": 64, "lr": 1e-2},
    "seed": 44,
}


def augment(images):
    """Shift by up to one pixel, scale the contrast, add noise; drawn anew for every image."""
    n = len(images)
    padded = F.pad(images, (1, 1, 1, 1), value=-1.0)
    dy, dx = torch.randint(0, 3, (2, n))
    rows = dy[:, None, None] + torch.arange(8)[None, :, None]
    cols = dx[:, None, None] + torch.arange(8)[None, None, :]
    shifted = padded[torch.arange(n)[:, None, None], 0, rows, cols].unsqueeze(1)
    gain = 0.8 + 0.4 * torch.rand(n, 1, 1, 1)
    return shifted * gain + 0.15 * torch.randn_like(shifted)


def make_encoder(width, dim):
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
        nn.Conv2d(width, width, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
        nn.Flatten(), nn.Linear(width * 16, dim, bias=False), nn.BatchNorm1d(dim), nn.ReLU(),
    )


def make_mlp(n_in, hidden, n_out):
    return nn.Sequential(nn.Linear(n_in, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, n_out))


class BYOL(nn.Module):
    def __init__(self, enc, proj, tau):
        super().__init__()
        self.online = nn.ModuleDict({
            "encoder": make_encoder(**enc),
            "projector": make_mlp(enc["dim"], proj["hidden"], proj["dim"]).append(nn.BatchNorm1d(proj["dim"])),
        })
        self.predictor = make_mlp(proj["dim"], proj["hidden"], proj["dim"])
        self.target = copy.deepcopy(self.online)
        self.tau = tau
        for p in self.target.parameters():
            p.requires_grad_(False)

    @staticmethod
    def _project(net, x):
        return net["projector"](net["encoder"](x))

    def forward(self, a, b):
        pa, pb = (self.predictor(self._project(self.online, v)) for v in (a, b))
        with torch.no_grad():
            za, zb = (self._project(self.target, v) for v in (a, b))
        distance = partial(F.cosine_similarity, dim=-1)
        return 2 - distance(pa, zb.detach()).mean() - distance(pb, za.detach()).mean()

    @torch.no_grad()
    def move_target(self, progress):
        tau = 1 - (1 - self.tau) * (math.cos(math.pi * progress) + 1) / 2
        for t, o in zip(self.target.parameters(), self.online.parameters()):
            t.mul_(tau).add_(o, alpha=1 - tau)


def minibatches(n, size):
    perm = torch.randperm(n)
    return (perm[i:i + size] for i in range(0, n - size + 1, size))


def pretrain(model, x, cfg):
    opt = optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=cfg["lr"], weight_decay=1e-4)
    per_epoch = len(x) // cfg["batch"]
    step, total = 0, cfg["epochs"] * per_epoch
    for epoch in range(cfg["epochs"]):
        model.train()
        acc = 0.0
        for idx in minibatches(len(x), cfg["batch"]):
            loss = model(augment(x[idx]), augment(x[idx]))
            opt.zero_grad()
            loss.backward()
            opt.step()
            step += 1
            model.move_target(step / total)
            acc += loss.item()
        print(f"byol  epoch {epoch}: {acc / per_epoch:.4f}")


def linear_probe(encoder, train, test, cfg):
    encoder.eval()
    for p in encoder.parameters():
        p.requires_grad_(False)
    with torch.no_grad():
        f_train, f_test = encoder(train[0]), encoder(test[0])
    mean, std = f_train.mean(0), f_train.std(0) + 1e-3
    f_train, f_test = (f_train - mean) / std, (f_test - mean) / std
    probe = nn.Linear(f_train.shape[1], 10)
    opt = optim.Adam(probe.parameters(), lr=cfg["lr"])
    for epoch in range(cfg["epochs"]):
        for idx in minibatches(len(f_train), cfg["batch"]):
            loss = F.cross_entropy(probe(f_train[idx]), train[1][idx])
            opt.zero_grad()
            loss.backward()
            opt.step()
    with torch.no_grad():
        return (probe(f_test).argmax(1) == test[1]).float().mean().item()


def main(cfg):
    torch.manual_seed(cfg["seed"])
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / 8.0 - 1.0, dtype=torch.float32).view(-1, 1, 8, 8)
    x_tr, x_te, y_tr, y_te = train_test_split(x, torch.tensor(y), test_size=0.3, random_state=1, stratify=y)
    model = BYOL(cfg["encoder"], cfg["projector"], cfg["pretrain"]["tau"])
    pretrain(model, x_tr, cfg["pretrain"])
    acc = linear_probe(model.online["encoder"], (x_tr, y_tr), (x_te, y_te), cfg["probe"])
    print(f"linear probe, test accuracy {acc:.4f}")


main(settings)
