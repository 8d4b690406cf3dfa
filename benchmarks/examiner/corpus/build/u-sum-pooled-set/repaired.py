"""Which law was the sample drawn from? A permutation-invariant network on bags of numbers."""
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

LAWS = {
    "normal": lambda r, n: r.normal(size=n),
    "laplace": lambda r, n: r.laplace(scale=2 ** -0.5, size=n),
    "uniform": lambda r, n: r.uniform(-3 ** 0.5, 3 ** 0.5, size=n),
    "bimodal": lambda r, n: r.choice([-0.9, 0.9], size=n) + 0.436 * r.normal(size=n),
    "skewed": lambda r, n: r.exponential(size=n) - 1,
}


class Bags(Dataset):
    def __init__(self, n_bags, bag_size, seed):
        r = np.random.default_rng(seed)
        names = list(LAWS)
        self.y = r.integers(0, len(names), size=n_bags)
        self.x = np.stack([LAWS[names[k]](r, bag_size) for k in self.y]).astype(np.float32)[..., None]

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return self.x[i], self.y[i]


class DeepSet(nn.Module):
    def __init__(self, width, n_out):
        super().__init__()
        self.phi = nn.Sequential(nn.Linear(1, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh())
        self.rho = nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Linear(width, n_out))

    def forward(self, bag):
        pooled = self.phi(bag).mean(dim=1)
        return self.rho(pooled)


class Experiment:
    def __init__(self, width=32, bag_size=150, lr=4e-3, epochs=12):
        self.epochs = epochs
        self.train_loader = DataLoader(Bags(800, bag_size, 0), batch_size=40, shuffle=True)
        self.test_loader = DataLoader(Bags(250, bag_size, 1), batch_size=125)
        self.net = DeepSet(width, len(LAWS))
        self.optim = torch.optim.Adam(self.net.parameters(), lr=lr)
        self.criterion = nn.CrossEntropyLoss()

    def run(self):
        for epoch in range(self.epochs):
            self.net.train()
            total = 0.0
            for bag, y in self.train_loader:
                self.optim.zero_grad()
                loss = self.criterion(self.net(bag), y)
                loss.backward()
                self.optim.step()
                total += loss.item() * len(y)
            print(f"{epoch:2d} loss {total / 800:.3f} test acc {self.test():.3f}")

    @torch.no_grad()
    def test(self):
        self.net.eval()
        hits = [(self.net(bag).argmax(1) == y).sum().item() for bag, y in self.test_loader]
        return sum(hits) / len(self.test_loader.dataset)


if __name__ == "__main__":
    torch.manual_seed(4)
    Experiment().run()
