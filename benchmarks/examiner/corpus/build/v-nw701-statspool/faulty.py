import random
import torch
import torch.nn as nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset


class Utterances(Dataset):
    """Synthetic speakers: each has its own mean and spread of 12 frame features."""

    def __init__(self, n, speakers=5, seed=0):
        world = torch.Generator().manual_seed(1234)
        mu = torch.randn(speakers, 12, generator=world) * 0.7
        spread = 0.4 + torch.rand(speakers, 12, generator=world)
        rng = random.Random(seed)
        g = torch.Generator().manual_seed(seed)
        self.items = []
        for _ in range(n):
            k = rng.randrange(speakers)
            frames = max(1, int(rng.gauss(9, 4)))
            self.items.append((mu[k] + spread[k] * torch.randn(frames, 12, generator=g), k))

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


def collate(batch):
    seqs, labels = zip(*batch)
    return pad_sequence(seqs, batch_first=True), torch.tensor([len(s) for s in seqs]), torch.tensor(labels)


class StatsPool(nn.Module):
    def forward(self, frames, lengths):
        rows = []
        for h, n in zip(frames, lengths.tolist()):
            h = h[:n]
            rows.append(torch.cat([h.mean(0), h.std(0)]))  # <-- here
        return torch.stack(rows)


class SpeakerNet(nn.Module):
    def __init__(self, dim=32, speakers=5):
        super().__init__()
        self.frame = nn.Sequential(nn.Linear(12, dim), nn.LeakyReLU(0.1), nn.Linear(dim, dim), nn.LeakyReLU(0.1))
        self.pool = StatsPool()
        self.segment = nn.Sequential(nn.Linear(2 * dim, dim), nn.ReLU(), nn.Linear(dim, speakers))

    def forward(self, frames, lengths):
        return self.segment(self.pool(self.frame(frames), lengths))


def evaluate(net, loader):
    net.eval()
    hit = n = 0
    with torch.inference_mode():
        for frames, lengths, who in loader:
            hit += (net(frames, lengths).argmax(1) == who).sum().item()
            n += len(who)
    return hit / n


if __name__ == "__main__":
    torch.manual_seed(2)
    train_loader = DataLoader(Utterances(800, seed=1), batch_size=32, shuffle=True, collate_fn=collate)
    valid_loader = DataLoader(Utterances(250, seed=2), batch_size=64, collate_fn=collate)
    net = SpeakerNet()
    opt = torch.optim.Adam(net.parameters(), lr=2e-3)
    for epoch in range(1, 7):
        net.train()
        total = 0.0
        for frames, lengths, who in train_loader:
            loss = nn.functional.cross_entropy(net(frames, lengths), who)
            opt.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 5.0)
            opt.step()
            total += loss.item() * len(who)
        print(f"epoch {epoch}: loss {total / 800:.4f}, valid acc {evaluate(net, valid_loader):.3f}")
