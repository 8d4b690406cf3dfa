import os
import random

import torch
from torch import nn

SEQ, BATCH = 32, 32


class CharGRU(nn.Module):
    def __init__(self, vocab, dim=32, hidden=96):
        super().__init__()
        self.emb = nn.Embedding(vocab, dim)
        self.rnn = nn.GRU(dim, hidden, batch_first=True)
        self.head = nn.Linear(hidden, vocab)

    def forward(self, tokens):
        h, _ = self.rnn(self.emb(tokens))
        return self.head(h)


def load_text(n_chars=120_000):
    path = os.path.join(os.environ["NETWRIGHT_DATA"], "tinyshakespeare", "input.txt")
    with open(path, encoding="utf-8") as fh:
        return fh.read(n_chars).lower()


def sample_batch(ids):
    starts = [random.randrange(len(ids) - SEQ - 1) for _ in range(BATCH)]
    chunk = torch.stack([ids[s:s + SEQ + 1] for s in starts])
    return chunk[:, :-1], chunk[:, 1:]


def apply_update(loss, model, opt, max_norm=1.0):
    model.zero_grad(set_to_none=False)
    loss.backward()
    norm = nn.utils.clip_grad_norm_(model.parameters(), max_norm)
    opt.step()
    return float(norm)


def heldout_loss(model, ids, loss_fn):
    model.eval()
    total, chars = 0.0, 0
    with torch.no_grad():
        for s in range(0, len(ids) - SEQ * 20 - 1, SEQ * 20):
            block = ids[s:s + SEQ * 20]
            target = ids[s + 1:s + SEQ * 20 + 1]
            logits = model(block.view(20, SEQ))
            total += loss_fn(logits.flatten(0, 1), target).item() * len(target)
            chars += len(target)
    model.train()
    return total / chars


def main():
    random.seed(5)
    torch.manual_seed(5)
    text = load_text()
    alphabet = sorted(set(text))
    lookup = {c: i for i, c in enumerate(alphabet)}
    ids = torch.tensor([lookup[c] for c in text])
    split = int(0.9 * len(ids))
    train_ids, val_ids = ids[:split], ids[split:]

    model = CharGRU(len(alphabet))
    opt = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.01)
    loss_fn = nn.CrossEntropyLoss()
    for step in range(1, 161):
        inputs, targets = sample_batch(train_ids)
        logits = model(inputs)
        loss = loss_fn(logits.reshape(-1, logits.size(-1)), targets.reshape(-1))
        norm = apply_update(loss, model, opt)
        if step % 40 == 0:
            print(f"step {step:4d}  loss {loss.item():.3f}  |g| {norm:.2f}  "
                  f"held-out {heldout_loss(model, val_ids, loss_fn):.3f}")


if __name__ == "__main__":
    main()
