import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, Dataset, Subset


class DigitTasks(Dataset):
    """The digit itself and how much ink the picture has (standardised on the training part)."""

    def __init__(self):
        bunch = load_digits()
        self.x = torch.tensor(bunch.data, dtype=torch.float32) / 16
        self.digit = torch.tensor(bunch.target)
        self.ink = self.x.mean(dim=1) + 0.5 * self.x[:, 27:37].mean(dim=1)

    def scale(self, rows):
        m, s = self.ink[rows].mean(), self.ink[rows].std()
        self.ink = (self.ink - m) / s

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return {"x": self.x[i], "digit": self.digit[i], "ink": self.ink[i]}


class TwoHeads(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Dropout(0.1))
        self.heads = nn.ModuleDict({"digit": nn.Linear(96, 10), "ink": nn.Linear(96, 1)})

    def forward(self, x):
        h = self.body(x)
        return {"digit": self.heads["digit"](h), "ink": self.heads["ink"](h).squeeze(1)}


torch.manual_seed(77)
data = DigitTasks()
perm = torch.randperm(len(data))
data.scale(perm[:1400])
train = DataLoader(Subset(data, perm[:1400].tolist()), batch_size=56, shuffle=True)
test = DataLoader(Subset(data, perm[1400:].tolist()), batch_size=128)
net = TwoHeads()
optim = torch.optim.Adam(net.parameters(), lr=2e-3)
ce, mse = nn.CrossEntropyLoss(), nn.MSELoss()

for epoch in range(6):
    net.train()
    for b in train:
        out = net(b["x"])
        loss = ce(out["digit"], b["digit"]) + 0.5 * mse(out["ink"], b["ink"])
        optim.zero_grad()
        loss.backward()
        optim.step()
    net.eval()
    right, se, n = 0, 0.0, 0
    with torch.no_grad():
        for b in test:
            out = net(b["x"])
            right += (out["digit"].argmax(1) == b["digit"]).sum().item()
            se += ((out["ink"] - b["ink"]) ** 2).sum().item()
            n += len(b["x"])
    print(f"epoch {epoch}: loss {loss.item():.3f} digit acc {right / n:.3f} ink mse {se / n:.4f}")
