import collections
import gzip
import os

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F


def idx(folder, name, offset, shape, n):
    with gzip.open(os.path.join(os.environ["NETWRIGHT_DATA"], folder, name)) as f:
        return np.frombuffer(f.read(), dtype=np.uint8, offset=offset).reshape(shape)[:n]


def get_data(n_train=3000, n_test=800):
    mk = lambda stem, n: (
        torch.tensor(idx("fashion-mnist", f"{stem}-images-idx3-ubyte.gz", 16, (-1, 1, 28, 28), n) / 255.0, dtype=torch.float32),
        torch.tensor(idx("fashion-mnist", f"{stem}-labels-idx1-ubyte.gz", 8, (-1,), n), dtype=torch.long))
    (xtr, ytr), (xte, yte) = mk("train", n_train), mk("t10k", n_test)
    m, s = xtr.mean(), xtr.std()
    return (xtr - m) / s, ytr, (xte - m) / s, yte


class CategoricalCrossentropy:
    """tf.keras.losses look-alike.

    y_true: (batch, classes) one-hot or soft, y_pred: (batch, classes) logits
    """

    def __init__(self, label_smoothing=0.0, reduction="mean"):
        self.label_smoothing = label_smoothing
        self.reduction = reduction

    def __call__(self, y_true, y_pred):
        return F.cross_entropy(y_pred, y_true, label_smoothing=self.label_smoothing,  # <-- here
                               reduction=self.reduction)


class Mixup:
    def __init__(self, n_classes, alpha=0.2):
        self.n_classes = n_classes
        self.beta = torch.distributions.Beta(alpha, alpha)

    def __call__(self, x, y):
        lam = self.beta.sample((len(x),))
        perm = torch.randperm(len(x))
        soft = F.one_hot(y, self.n_classes).float()
        lx = lam.view(-1, 1, 1, 1)
        return lx * x + (1 - lx) * x[perm], lam[:, None] * soft + (1 - lam[:, None]) * soft[perm]


def conv_net(n_classes):
    layers = collections.OrderedDict()
    width = [1, 8, 16, 32]
    for i, (a, b) in enumerate(zip(width, width[1:])):
        layers[f"conv{i}"] = nn.Conv2d(a, b, 3, stride=2, padding=1, bias=False)
        layers[f"bn{i}"] = nn.BatchNorm2d(b)
        layers[f"relu{i}"] = nn.ReLU(inplace=True)
    layers["pool"] = nn.AdaptiveAvgPool2d(2)
    layers["flat"] = nn.Flatten()
    layers["fc"] = nn.Linear(128, n_classes)
    return nn.Sequential(layers)


class Learner:
    def __init__(self, model, loss, opt_fn=torch.optim.AdamW, mix=None, **opt_kw):
        self.model, self.loss, self.mix = model, loss, mix
        self.opt = opt_fn(model.parameters(), **opt_kw)
        self.log = []

    def fit(self, x, y, valid, epochs, bs):
        steps = epochs * -(-len(x) // bs)
        sched = torch.optim.lr_scheduler.OneCycleLR(self.opt, max_lr=4e-3, total_steps=steps)
        for epoch in range(epochs):
            self.model.train()
            total = 0.0
            for ids in torch.randperm(len(x)).split(bs):
                xb, soft = self.mix(x[ids], y[ids])
                out = self.model(xb)
                loss = self.loss(out, soft)  # <-- here
                self.opt.zero_grad()
                loss.backward()
                self.opt.step()
                sched.step()
                total += loss.item() * len(ids)
            self.log.append({"epoch": epoch, "loss": total / len(x), **self.score(*valid)})
            print("  ".join(f"{k} {v:.4f}" if isinstance(v, float) else f"{k} {v}" for k, v in self.log[-1].items()))

    @torch.no_grad()
    def score(self, x, y):
        self.model.eval()
        out = torch.cat([self.model(c) for c in x.split(200)])
        top3 = out.topk(3, dim=1).indices.eq(y[:, None]).any(1)
        return {"acc": out.argmax(1).eq(y).float().mean().item(), "top3": top3.float().mean().item()}


if __name__ == "__main__":
    torch.manual_seed(314)
    xtr, ytr, xte, yte = get_data()
    learner = Learner(conv_net(10), CategoricalCrossentropy(label_smoothing=0.05), mix=Mixup(10), lr=1e-3, weight_decay=0.01)
    learner.fit(xtr, ytr, (xte, yte), epochs=4, bs=64)
