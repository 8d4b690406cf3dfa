import random

import torch
import torch.nn as nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset

PAD, VOCAB = 0, 21


class BracketLike(Dataset):
    """Which of the three marker tokens (1, 2, 3) is the most frequent in the sequence?"""

    def __init__(self, n, seed):
        rng = random.Random(seed)
        self.items = []
        for _ in range(n):
            label = rng.randrange(3)
            length = rng.randint(10, 18)
            seq = [rng.randint(4, VOCAB - 1) for _ in range(length)]
            spots = rng.sample(range(length), 6)
            for pos, tok in zip(spots, [label + 1] * 3 + [(label + 1) % 3 + 1, (label + 2) % 3 + 1, rng.randint(1, 3)]):
                seq[pos] = tok
            self.items.append((torch.tensor(seq), label))

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


def collate(batch):
    seqs, labels = zip(*batch)
    return pad_sequence(seqs, batch_first=True, padding_value=PAD), torch.tensor(labels)


class Classifier(nn.Module):
    def __init__(self, d_model=32, nhead=2, layers=2):
        super().__init__()
        self.embed = nn.Embedding(VOCAB, d_model, padding_idx=PAD)
        self.position = nn.Parameter(torch.randn(1, 18, d_model) * 0.1)
        layer = nn.TransformerEncoderLayer(d_model, nhead, 64, dropout=0.0, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, layers, norm=nn.LayerNorm(d_model), enable_nested_tensor=False)
        self.out = nn.Linear(d_model, 3)

    def forward(self, ids):
        mask = ids == PAD
        h = self.encoder(self.embed(ids) + self.position[:, :ids.size(1)], src_key_padding_mask=mask)
        keep = (~mask).unsqueeze(-1).float()
        return self.out((h * keep).sum(1) / keep.sum(1))


class ScheduledOptim:
    """A simple wrapper class for learning rate scheduling."""

    def __init__(self, optimizer, lr_mul, d_model, n_warmup_steps):
        self._optimizer = optimizer
        self.lr_mul, self.d_model, self.n_warmup_steps = lr_mul, d_model, n_warmup_steps
        self.n_steps = 0

    def step_and_update_lr(self):
        self._update_learning_rate()
        self._optimizer.step()

    def zero_grad(self):
        self._optimizer.zero_grad(set_to_none=False)

    def _get_lr_scale(self):
        return self.d_model ** -0.5 * min(self.n_steps ** -0.5, self.n_steps * self.n_warmup_steps ** -1.5)

    def _update_learning_rate(self):
        self.n_steps += 1
        for group in self._optimizer.param_groups:
            group["lr"] = self.lr_mul * self._get_lr_scale()


def train_epoch(model, loader, optimizer):
    model.train()
    total = 0.0
    for ids, labels in loader:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(ids), labels)
        loss.backward()
        optimizer.step_and_update_lr()
        total += loss.item() * len(labels)
    return total / len(loader.dataset)


def eval_epoch(model, loader):
    model.eval()
    good = 0
    with torch.no_grad():
        for ids, labels in loader:
            good += model(ids).argmax(-1).eq(labels).sum().item()
    return good / len(loader.dataset)


def main():
    torch.manual_seed(17)
    train_loader = DataLoader(BracketLike(2000, 1), batch_size=32, shuffle=True, collate_fn=collate)
    valid_loader = DataLoader(BracketLike(400, 2), batch_size=100, collate_fn=collate)
    model = Classifier()
    adam = torch.optim.Adam(model.parameters(), betas=(0.9, 0.98), eps=1e-9)
    optimizer = ScheduledOptim(adam, lr_mul=0.15, d_model=32, n_warmup_steps=60)
    for epoch in range(1, 5):
        loss = train_epoch(model, train_loader, optimizer)
        print(f"[ Epoch {epoch} ] train loss {loss:.4f}  valid acc {eval_epoch(model, valid_loader):.3f}"
              f"  lr {adam.param_groups[0]['lr']:.5f}")


if __name__ == "__main__":
    main()
