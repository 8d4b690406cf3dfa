"""Teacher -> two students (deep mutual learning), Fashion-MNIST subset.

1. a convolutional teacher is trained with hard labels;
2. two student MLPs of different width learn from soft targets and from one another.
"""
import contextlib
import dataclasses
import gzip
import itertools
import os
import pathlib

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F


@dataclasses.dataclass(frozen=True)
class Hyper:
    teacher_epochs: int = 2
    mutual_epochs: int = 3
    batch: int = 60
    temperature: float = 2.5
    w_hard: float = 0.4
    w_soft: float = 0.5
    w_peer: float = 0.3
    lr_teacher: float = 2e-3
    lr_student: float = 1.5e-3


class Images:
    root = pathlib.Path(os.environ.get("NETWRIGHT_DATA", "data")) / "fashion-mnist"

    @classmethod
    def _bytes(cls, name, skip):
        return np.frombuffer(gzip.decompress((cls.root / name).read_bytes()), np.uint8, offset=skip)

    def __init__(self, stem, start, stop, stats=None):
        x = self._bytes(f"{stem}-images-idx3-ubyte.gz", 16).reshape(-1, 1, 28, 28)[start:stop]
        y = self._bytes(f"{stem}-labels-idx1-ubyte.gz", 8)[start:stop]
        x = torch.tensor(x, dtype=torch.float32) / 255
        self.stats = stats or (x.mean().item(), x.std().item())
        self.x = (x - self.stats[0]) / self.stats[1]
        self.y = torch.tensor(y, dtype=torch.long)

    def shuffled(self, size, gen):
        order = torch.randperm(len(self.y), generator=gen)
        for part in order.split(size):
            yield self.x[part], self.y[part]


def teacher_net():
    def stage(i, o):
        return [nn.Conv2d(i, o, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU()]

    return nn.Sequential(*stage(1, 12), *stage(12, 24), nn.Flatten(), nn.Linear(24 * 49, 10))


def student_net(hidden):
    return nn.Sequential(nn.AvgPool2d(2), nn.Flatten(), nn.Linear(196, hidden), nn.GELU(), nn.Linear(hidden, 10))


@contextlib.contextmanager
def evaluating(*nets):
    modes = [n.training for n in nets]
    for n in nets:
        n.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for n, m in zip(nets, modes):
            n.train(m)


def top1(net, data):
    with evaluating(net):
        return sum((net(x).argmax(1) == y).sum().item()
                   for x, y in zip(data.x.split(250), data.y.split(250))) / len(data.y)


def soft_target_loss(student, teacher, T):
    """cross-entropy against the teacher's distribution; the gradient scale is kept by T^2"""
    return T * T * F.cross_entropy(student / T, F.softmax(teacher / T, dim=1))


def peer_loss(mine, other, T):
    """both arguments are log-probabilities; the peer is a live network"""
    return F.kl_div(F.log_softmax(mine / T, 1), F.log_softmax(other / T, 1), log_target=True, reduction="batchmean")


def train_teacher(net, data, hp, gen):
    opt = torch.optim.AdamW(net.parameters(), lr=hp.lr_teacher, weight_decay=1e-2)
    net.train()
    for epoch in range(hp.teacher_epochs):
        total = 0.0
        for x, y in data.shuffled(hp.batch, gen):
            loss = F.cross_entropy(net(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            total += loss.item() * len(y)
        print(f"teacher {epoch}: {total / len(data.y):.4f}")
    return net.eval().requires_grad_(False)


def mutual(students, teacher, data, hp, gen):
    opt = torch.optim.AdamW(itertools.chain.from_iterable(s.parameters() for s in students.values()),
                            lr=hp.lr_student, weight_decay=1e-3)
    for epoch in range(hp.mutual_epochs):
        tally = dict.fromkeys(("hard", "soft", "peer"), 0.0)
        for x, y in data.shuffled(hp.batch, gen):
            with torch.no_grad():
                guide = teacher(x)
            out = {k: s(x) for k, s in students.items()}
            a, b = out["wide"], out["narrow"]
            hard = F.cross_entropy(a, y) + F.cross_entropy(b, y)
            soft = soft_target_loss(a, guide, hp.temperature) + soft_target_loss(b, guide, hp.temperature)
            peer = peer_loss(a, b, hp.temperature) + peer_loss(b, a, hp.temperature)
            loss = hp.w_hard * hard + hp.w_soft * soft / hp.temperature ** 2 + hp.w_peer * peer
            opt.zero_grad()
            loss.backward()
            opt.step()
            for k, v in zip(tally, (hard, soft, peer)):
                tally[k] += v.item() * len(y)
        print(f"mutual {epoch}:", "  ".join(f"{k} {v / len(data.y):.4f}" for k, v in tally.items()))


def main(hp=Hyper()):
    torch.manual_seed(2)
    gen = torch.Generator().manual_seed(2)
    train = Images("train", 0, 4200)
    test = Images("t10k", 0, 1000, stats=train.stats)
    teacher = train_teacher(teacher_net(), train, hp, gen)
    print("teacher accuracy", top1(teacher, test))
    students = {"wide": student_net(64), "narrow": student_net(24)}
    mutual(students, teacher, train, hp, gen)
    for name, net in students.items():
        print(f"{name:7s} accuracy {top1(net, test):.3f}")


if __name__ == "__main__":
    main()
