import logging
import sys

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset, Subset

logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(name)s: %(message)s")
log = logging.getLogger("attn-pool")

hparams = dict(vocab=400, n_topics=4, length=20, emb=32, hidden=32, attn=24, lr=3e-3, bs=50, epochs=5, seed=99)


class TopicSentences(Dataset):
    """Sentences over a Zipf-like vocabulary. Three cue words of one topic are hidden among the fillers."""

    def __init__(self, n, hp, rng):
        V, K, T = hp["vocab"], hp["n_topics"], hp["length"]
        cues = np.arange(1, 1 + 10 * K).reshape(K, 10)
        p = 1.0 / (np.arange(V - 10 * K - 1) + 5.0)
        fill = rng.choice(np.arange(10 * K + 1, V), size=(n, T), p=p / p.sum())
        self.labels = rng.integers(K, size=n)
        for i, k in enumerate(self.labels):
            where = rng.choice(T, 4, replace=False)
            fill[i, where[:3]] = rng.choice(cues[k], 3)
            fill[i, where[3]] = rng.choice(cues[(k + 1 + rng.integers(K - 1)) % K])
        self.ids = fill

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return {"ids": torch.as_tensor(self.ids[index]), "label": torch.as_tensor(self.labels[index])}


class AdditiveAttention(nn.Module):
    r"""score(h) = v^T tanh(W h); returns the weighted sum of h and the weights."""

    def __init__(self, dim, attn_dim):
        super().__init__()
        self.W = nn.Linear(dim, attn_dim)
        self.v = nn.Linear(attn_dim, 1, bias=False)

    def forward(self, h):
        score = self.v(torch.tanh(self.W(h)))
        alpha = F.softmax(score, dim=1)
        return (alpha * h).sum(dim=1), alpha.squeeze(-1)


class SentenceClassifier(nn.Module):
    def __init__(self, hp):
        super().__init__()
        self.embed = nn.Embedding(hp["vocab"], hp["emb"])
        self.rnn = nn.GRU(hp["emb"], hp["hidden"], batch_first=True, bidirectional=True)
        self.pool = AdditiveAttention(2 * hp["hidden"], hp["attn"])
        self.head = nn.Sequential(nn.LayerNorm(2 * hp["hidden"]), nn.Linear(2 * hp["hidden"], hp["n_topics"]))

    def forward(self, ids):
        h, _ = self.rnn(self.embed(ids))
        ctx, alpha = self.pool(h)
        return self.head(ctx), alpha


def train_epoch(model, loader, opt):
    model.train()
    meter = []
    for step, batch in enumerate(loader):
        logits, _ = model(batch["ids"])
        loss = F.cross_entropy(logits, batch["label"])
        opt.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        opt.step()
        meter.append(loss.item())
        if step % 10 == 0:
            log.info("  step %3d loss %.4f", step, meter[-1])
    return float(np.mean(meter))


def evaluate(model, loader):
    model.eval()
    good, n, ent = 0, 0, 0.0
    with torch.no_grad():
        for batch in loader:
            logits, alpha = model(batch["ids"])
            good += int((logits.argmax(-1) == batch["label"]).sum())
            ent += float(-(alpha * (alpha + 1e-9).log()).sum())
            n += len(logits)
    return good / n, ent / n


def main(hp):
    torch.manual_seed(hp["seed"])
    corpus = TopicSentences(2000, hp, np.random.default_rng(hp["seed"]))
    order = torch.randperm(len(corpus)).tolist()
    train_dl = DataLoader(Subset(corpus, order[:1600]), batch_size=hp["bs"], shuffle=True)
    dev_dl = DataLoader(Subset(corpus, order[1600:]), batch_size=200)
    model = SentenceClassifier(hp)
    log.info("%d parameters", sum(p.numel() for p in model.parameters()))
    opt = torch.optim.Adam(model.parameters(), lr=hp["lr"])
    for epoch in range(hp["epochs"]):
        loss = train_epoch(model, train_dl, opt)
        acc, ent = evaluate(model, dev_dl)
        log.info("epoch %d train %.4f dev acc %.3f attention entropy %.3f", epoch, loss, acc, ent)


if __name__ == "__main__":
    main(hparams)
