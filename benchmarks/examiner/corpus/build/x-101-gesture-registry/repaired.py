import copy
import functools
import math
from collections import defaultdict

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_sequence
from torch.utils.data import DataLoader, Dataset

ACTIVATIONS = {
    "identity": lambda t: t,
    "tanh": torch.tanh,
    "softmax": functools.partial(F.softmax, dim=-1),
}

CFG = {
    "seed": 7,
    "data": {"n_train": 700, "n_valid": 250, "min_len": 18, "max_len": 40},
    "model": {"hidden": 32, "n_classes": 5,
              "out_activation": "identity"},
    "optim": {"lr": 4e-3, "weight_decay": 1e-4},
    "epochs": 4,
    "batch_size": 32,
    "clip": 1.0,
}


class GestureSet(Dataset):
    """Three-axis accelerometer strokes, one of five shapes, random length and speed."""

    def __init__(self, n, min_len, max_len, seed):
        rng = np.random.RandomState(seed)
        self.items = []
        for _ in range(n):
            k = rng.randint(5)
            T = rng.randint(min_len, max_len + 1)
            t = np.linspace(0, 1, T)
            ph = rng.uniform(-0.4, 0.4)
            base = {
                0: (np.sin(2 * math.pi * t + ph), np.cos(2 * math.pi * t + ph), 0 * t),
                1: (np.sin(2 * math.pi * t + ph), -np.cos(2 * math.pi * t + ph), 0 * t),
                2: (2 * t - 1, np.sin(4 * math.pi * t + ph), t * 0),
                3: (0 * t, 2 * t - 1, np.sin(2 * math.pi * t + ph)),
                4: (np.abs(2 * t - 1), 0 * t, np.cos(4 * math.pi * t + ph)),
            }[k]
            x = np.stack(base, 1) * rng.uniform(0.7, 1.3) + 1.3 * rng.randn(T, 3)
            self.items.append((torch.tensor(x, dtype=torch.float32), k))

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


def collate(batch):
    batch = sorted(batch, key=lambda it: len(it[0]), reverse=True)
    xs, ys = zip(*batch)
    return pad_sequence(xs, batch_first=True), torch.tensor([len(x) for x in xs]), torch.tensor(ys)


class SmoothedCE(nn.CrossEntropyLoss):
    def __init__(self, eps=0.05):
        super().__init__(label_smoothing=eps)


class Encoder(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.rnn = nn.GRU(3, hidden, batch_first=True, bidirectional=True)
        self.out_dim = 2 * hidden

    def forward(self, x, lengths):
        _, h = self.rnn(pack_padded_sequence(x, lengths, batch_first=True))
        return torch.cat([h[0], h[1]], dim=-1)


class Recognizer(nn.Module):
    def __init__(self, hidden, n_classes, out_activation="identity"):
        super().__init__()
        self.encoder = Encoder(hidden)
        self.norm = nn.LayerNorm(self.encoder.out_dim)
        self.proj = nn.Linear(self.encoder.out_dim, n_classes)
        self._act = ACTIVATIONS[out_activation]

    @property
    def out(self):
        return lambda h: self._act(self.proj(h))

    def forward(self, x, lengths):
        return self.out(self.norm(self.encoder(x, lengths)))


class Trainer:
    def __init__(self, cfg, model, train_dl, valid_dl):
        self.cfg, self.model = cfg, model
        self.train_dl, self.valid_dl = train_dl, valid_dl
        self.loss = SmoothedCE()
        self.opt = torch.optim.AdamW(model.parameters(), **cfg["optim"])
        self.sched = torch.optim.lr_scheduler.CosineAnnealingLR(self.opt, T_max=cfg["epochs"], eta_min=4e-4)
        self.history = defaultdict(list)
        self.best = (0.0, None)

    def step(self, x, n, y):
        self.opt.zero_grad(set_to_none=True)
        loss = self.loss(self.model(x, n), y)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.cfg["clip"])
        self.opt.step()
        return loss.item()

    @torch.inference_mode()
    def validate(self):
        self.model.eval()
        ok = tot = 0
        for x, n, y in self.valid_dl:
            ok += (self.model(x, n).argmax(-1) == y).sum().item()
            tot += y.numel()
        return ok / tot

    def fit(self):
        for ep in range(self.cfg["epochs"]):
            self.model.train()
            acc_loss = n_seen = 0
            for x, n, y in self.train_dl:
                acc_loss += self.step(x, n, y) * len(y)
                n_seen += len(y)
            self.sched.step()
            val = self.validate()
            self.history["loss"].append(acc_loss / n_seen)
            self.history["val"].append(val)
            if val > self.best[0]:
                self.best = (val, copy.deepcopy(self.model.state_dict()))
            print(f"[{ep:02d}] loss={acc_loss / n_seen:.4f} val_acc={val:.3f} lr={self.sched.get_last_lr()[0]:.2e}")
        self.model.load_state_dict(self.best[1])
        return self.best[0]


def build(cfg):
    torch.manual_seed(cfg["seed"])
    d = cfg["data"]
    tr = GestureSet(d["n_train"], d["min_len"], d["max_len"], seed=11)
    va = GestureSet(d["n_valid"], d["min_len"], d["max_len"], seed=12)
    mk = functools.partial(DataLoader, batch_size=cfg["batch_size"], collate_fn=collate)
    return Trainer(cfg, Recognizer(**cfg["model"]), mk(tr, shuffle=True), mk(va))


if __name__ == "__main__":
    print("best validation accuracy", round(build(CFG).fit(), 4))
