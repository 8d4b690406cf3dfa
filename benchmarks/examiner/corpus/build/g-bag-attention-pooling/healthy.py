import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset


class Bags(Dataset):
    """A bag is positive when one of its instances comes from the special cluster."""

    def __init__(self, n, seed):
        g = torch.Generator().manual_seed(seed)
        self.bags, self.labels = [], []
        special = torch.linspace(-1.5, 1.5, 8)
        for i in range(n):
            m = int(torch.randint(4, 11, (1,), generator=g))
            inst = torch.randn(m, 8, generator=g)
            y = int(torch.rand(1, generator=g) < 0.5)
            if y:
                j = int(torch.randint(0, m, (1,), generator=g))
                inst[j] = special * 1.3 + 0.4 * torch.randn(8, generator=g)
            self.bags.append(inst)
            self.labels.append(float(y))

    def __len__(self):
        return len(self.bags)

    def __getitem__(self, i):
        return self.bags[i], self.labels[i]


def collate(items):
    bags, labels = zip(*items)
    lengths = torch.tensor([len(b) for b in bags])
    padded = pad_sequence(bags, batch_first=True)
    mask = torch.arange(padded.shape[1])[None] < lengths[:, None]
    return padded, mask, torch.tensor(labels)


class AttentionMIL(nn.Module):
    def __init__(self, d=8, h=32):
        super().__init__()
        self.encode = nn.Sequential(nn.Linear(d, h), nn.ReLU())
        self.attn_V = nn.Linear(h, 16)
        self.attn_w = nn.Linear(16, 1)
        self.classify = nn.Linear(h, 1)

    def forward(self, bags, mask):
        h = self.encode(bags)
        a = self.attn_w(torch.tanh(self.attn_V(h))).squeeze(-1)
        a = torch.softmax(a.masked_fill(~mask, float("-inf")), dim=1)
        z = torch.einsum("bn,bnd->bd", a, h)
        return self.classify(z).squeeze(-1)


def main():
    torch.manual_seed(0)
    train_dl = DataLoader(Bags(1500, 1), batch_size=50, shuffle=True, collate_fn=collate)
    test_dl = DataLoader(Bags(400, 2), batch_size=100, collate_fn=collate)
    mil = AttentionMIL()
    bce = nn.BCEWithLogitsLoss()
    opt = torch.optim.Adam(mil.parameters(), lr=5e-3)
    for epoch in range(6):
        mil.train()
        loss_sum = 0.0
        for bags, mask, y in train_dl:
            opt.zero_grad()
            loss = bce(mil(bags, mask), y)
            loss.backward()
            opt.step()
            loss_sum += loss.item() * len(y)
        mil.eval()
        right = 0
        with torch.no_grad():
            for bags, mask, y in test_dl:
                right += ((mil(bags, mask) > 0).float() == y).sum().item()
        print("epoch", epoch, "loss", round(loss_sum / 1500, 4), "test acc", right / 400)


main()
