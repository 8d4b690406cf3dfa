import json
import os
import random
import re
from collections import Counter

import torch
import torch.nn as nn

CONFIG = json.loads("""
{
  "seed": 5,
  "model": {"name": "bag", "dim": 32, "hidden": 64},
  "optimizer": {"name": "Adam", "lr": 0.003, "betas": [0.9, 0.98]},
  "training": {"epochs": 5, "batch_size": 50},
  "vocabulary": 1500
}
""")


def read_messages():
    path = os.path.join(os.environ["NETWRIGHT_DATA"], "sms-spam", "SMSSpamCollection")
    rows = [line.rstrip("\n").split("\t", 1) for line in open(path, encoding="utf-8")]
    rows = list(dict.fromkeys((label, text) for label, text in rows))
    random.shuffle(rows)
    spam = [r for r in rows if r[0] == "spam"]
    ham = [r for r in rows if r[0] == "ham"][: 2 * len(spam)]
    mixed = spam + ham
    random.shuffle(mixed)
    return mixed


def tokenize(text):
    return re.findall(r"[a-z']+|\d+|[!?£$]", re.sub(r"\d+", "7", text.lower()))


class Bag(nn.Module):
    def __init__(self, vocab, dim, hidden):
        super().__init__()
        self.embed = nn.EmbeddingBag(vocab, dim, mode="mean")
        self.hidden = nn.Linear(dim, hidden)
        self.out = nn.Linear(hidden, 2)

    def forward(self, ids, offsets):
        return self.out(nn.functional.gelu(self.hidden(self.embed(ids, offsets))))


MODELS = {"bag": Bag}


def build_model(cfg, vocab):
    kwargs = dict(cfg["model"])
    return MODELS[kwargs.pop("name")](vocab, **kwargs)


def build_optimizer(cfg, params):
    kwargs = dict(cfg["optimizer"])
    return getattr(torch.optim, kwargs.pop("name"))(params, **kwargs)


def batches(data, size, shuffle):
    order = torch.randperm(len(data)).tolist() if shuffle else range(len(data))
    order = list(order)
    for i in range(0, len(order), size):
        part = [data[j] for j in order[i:i + size]]
        lengths = torch.tensor([0] + [len(ids) for ids, _ in part[:-1]])
        yield (torch.tensor([t for ids, _ in part for t in ids]), lengths.cumsum(0),
               torch.tensor([label for _, label in part]))


def main(cfg):
    random.seed(cfg["seed"])
    torch.manual_seed(cfg["seed"])
    rows = read_messages()
    cut = int(0.8 * len(rows))
    counts = Counter(w for _, text in rows[:cut] for w in tokenize(text))
    vocab = {w: i + 1 for i, (w, _) in enumerate(counts.most_common(cfg["vocabulary"] - 1))}
    encoded = [([vocab.get(w, 0) for w in tokenize(text)] or [0], int(label == "spam")) for label, text in rows]
    train, test = encoded[:cut], encoded[cut:]

    model = build_model(cfg, len(vocab) + 1)
    optimizer = build_optimizer(cfg, model.parameters())
    criterion = nn.CrossEntropyLoss()
    for epoch in range(cfg["training"]["epochs"]):
        model.train()
        seen, total = 0, 0.0
        for step, (ids, offsets, y) in enumerate(batches(train, cfg["training"]["batch_size"], True)):
            optimizer.zero_grad()
            loss = criterion(model(ids, offsets), y)
            loss.backward()
            optimizer.step()
            seen, total = seen + len(y), total + loss.item() * len(y)
            if step % 10 == 0:
                print(f"   step {step:3d} loss {loss.item():.3f}")
        model.eval()
        with torch.no_grad():
            good = sum((model(i, o).argmax(1) == y).sum().item() for i, o, y in batches(test, 200, False))
        print(f"epoch {epoch}: train loss {total / seen:.3f}  test accuracy {good / len(test):.3f}")


main(CONFIG)
