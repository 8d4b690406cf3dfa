import os
from contextlib import contextmanager
import torch
from torch import nn, Tensor

torch.manual_seed(31)
ROOT = os.environ.get("NETWRIGHT_DATA", "data")


@contextmanager
def evaluating(net: nn.Module):
    """Temporarily switch to eval mode, gradients off."""
    net.eval()  # <-- here
    was_training = net.training  # <-- here
    try:
        with torch.no_grad():
            yield net
    finally:
        net.train(was_training)  # <-- here


def read_reviews(limit=1500):
    folder = os.path.join(ROOT, "rt-polarity")
    rows = []
    for name in sorted(os.listdir(folder)):
        if name.endswith((".pos", ".neg")):
            with open(os.path.join(folder, name), encoding="latin-1") as fh:
                rows += [(line.split(), int(name.endswith(".pos"))) for line in list(fh)[:limit]]
    return rows


def make_vocab(rows, size=3000):
    freq: dict = {}
    for words, _ in rows:
        for w in words:
            freq[w] = freq.get(w, 0) + 1
    ranked = sorted(freq, key=lambda w: (-freq[w], w))[:size]
    return {w: i + 1 for i, w in enumerate(ranked)}


def encode(rows, vocab):
    ids, offsets = [], []
    for words, _ in rows:
        offsets.append(len(ids))
        ids += [vocab[w] for w in words if w in vocab] or [0]
    return torch.tensor(ids), torch.tensor(offsets), torch.tensor([float(l) for _, l in rows])


class BagNet(nn.Module):
    def __init__(self, n_words: int, dim: int = 32):
        super().__init__()
        self.bag = nn.EmbeddingBag(n_words + 1, dim, mode="mean")
        self.mlp = nn.Sequential(nn.Dropout(0.1), nn.Linear(dim, 32), nn.ReLU(), nn.Dropout(0.4), nn.Linear(32, 1))

    def forward(self, ids: Tensor, offsets: Tensor) -> Tensor:
        return self.mlp(self.bag(ids, offsets)).squeeze(1)


rows = read_reviews()
order = torch.randperm(len(rows)).tolist()
held, kept = [rows[i] for i in order[:500]], [rows[i] for i in order[500:]]
vocab = make_vocab(kept)
net = BagNet(len(vocab))
bce = nn.BCEWithLogitsLoss()
optimizer = torch.optim.Adam(net.parameters(), lr=8e-3)
test = encode(held, vocab)

step = 0
for epoch in range(4):
    epoch_order = torch.randperm(len(kept)).tolist()
    total = 0.0
    for s in range(0, len(kept), 50):
        ids, off, lab = encode([kept[i] for i in epoch_order[s:s + 50]], vocab)
        optimizer.zero_grad()
        loss = bce(net(ids, off), lab)
        loss.backward()
        optimizer.step()
        total += loss.item() * len(lab)
        step += 1
        if step % 50 == 0:
            with evaluating(net) as m:
                guess = m(test[0], test[1]) > 0
                print(f"step {step}: held-out accuracy {(guess.float() == test[2]).float().mean():.3f}")
    print(f"epoch {epoch} train loss {total / len(kept):.4f}")
